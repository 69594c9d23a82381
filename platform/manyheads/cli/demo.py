"""`manyheads demo`: heads for a sentence and two tasks on the packaged world, one command after the other."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import click

from manyheads.cli import manyheads
from manyheads.errors import ManyheadsError
from manyheads.parameters import NamedPath
from manyheads.storage.world_folder import WORLD

TASKS = ("dmc/point_mass-corner", "gymnasium/Pendulum-v1-swingup")
ENVIRONMENT = "dmc/cartpole"
STARTER = "starter"
"""the packaged world: several bodies, trained on random actions alone"""
GOAL = "Spin the pole around fast"
UNSEEN = 3
"""exit code of `manyheads goal` where the world has hardly seen what the goal asks for"""


@click.command()
@click.option("--goal", default=GOAL, show_default=True, help="your own sentence")
@click.option("--world", type=NamedPath(), default=Path("demo"), show_default=True, help="where")
@click.option("--updates", default=1000, show_default=True, type=click.IntRange(min=1), help="of each head")
def demo(goal: str, world: Path, updates: int) -> None:
    """Take the packaged world, make a task of a sentence, train its head and two others in imagination, play them.

    After Ctrl-C the same command continues: each part resumes where it was stopped. Exit code 3: the world has hardly
    seen what the goal asks for, so it gets no head from imagination.
    """
    if not goal.strip():
        raise ManyheadsError('The goal is empty: say what to do, for example --goal "Spin the pole around fast".')
    _say("1 of 5", "a world model of six environments comes along: it has seen random actions, and no task")
    if (world / WORLD).exists():
        click.echo(f"{world} has it already.")
    else:
        _run("unpack", STARTER, str(world))

    _say("2 of 5", "a sentence becomes a checked reward specification, with the ranges that this world has seen")
    file, unseen = task_file(world, goal), False
    mark = file.with_suffix(".unseen")
    if not file.exists() or mark.exists():
        code = _run(
            "goal", "--environment", ENVIRONMENT, "--world", str(world), "--yes", "--out", str(file), "--", goal
        )
        unseen = code == UNSEEN
        mark.touch() if unseen else mark.unlink(missing_ok=True)

    if unseen:
        click.echo(
            "The goal gets no head: the world has hardly seen what it asks for, so it can't be trained in imagination."
        )
    _say("3 of 5", "its head, and heads for two more tasks, learn in the world's imagination: no environment steps")
    goals = () if unseen else (str(file),)
    _run("finetune", str(world), *goals, *TASKS, "--updates", str(updates))

    _say("4 of 5", "every head plays in the real simulator, compared with random actions")
    _run("evaluate", str(world))

    _say("5 of 5", "curves, real and imagined videos, and who decided what in the specification, as one page")
    _run("report", str(world), "--out", str(world / "report.html"))
    click.echo(_next_steps(world))
    if unseen:
        raise SystemExit(UNSEEN)


def task_file(world: Path, goal: str) -> Path:
    """The file of a goal's task: goals that differ in a sign have their own files."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", goal).strip("-")[:60]
    return world / "goals" / f"{words}-{hashlib.sha256(goal.encode()).hexdigest()[:8]}.yaml"


def _run(name: str, *arguments: str) -> int:
    """Runs a registered command; its exit code where it is 0 or says that a goal is unseen, else this one ends too."""
    click.secho(f"$ manyheads {name} {' '.join(_quoted(each) for each in arguments)}", dim=True)
    try:
        code = manyheads.main([name, *arguments], prog_name="manyheads", standalone_mode=False) or 0
    except SystemExit as end:
        code = end.code
    if code not in (0, UNSEEN):
        raise SystemExit(code)
    return int(code)


def _say(part: str, what: str) -> None:
    click.secho(f"\n[{part}] {what}", bold=True)


def _quoted(argument: str) -> str:
    return f'"{argument}"' if " " in argument else argument


def _next_steps(world: Path) -> str:
    return f"""
Open {world / "report.html"} in a browser. Then try
  manyheads demo --goal "Keep the cart in the middle and let the pole hang still"
  manyheads train mine dmc/cartpole-park_left dmc/cartpole-keep_up --settings demo --steps 8000
  manyheads new plugin sailing"""
