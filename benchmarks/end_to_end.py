"""From a sentence to a head that is played: goals with known true rewards, on a world that was trained without any.

Each file in `true_goals/` is a task whose `goal` is the sentence that the writer gets, and whose reward and success are
the truth that nobody else sees. The sentence becomes a specification, its head is trained in imagination with no
environment step, and plays episodes that the *true* task pays. With --truth a second head is trained on the true reward
itself, with the same budget: what the detour through words costs. Ctrl-C saves; the same command continues.

    python benchmarks/end_to_end.py WORLD [--goal cartpole-spin …] [--updates 1000] [--truth] [--episodes 10] [--json]
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

import manyheads
from manyheads import ManyheadsError, SharedWorld, Task

GOALS = {path.stem: path for path in sorted((Path(__file__).parent / "true_goals").glob("*.yaml"))}


def written(world: SharedWorld, truth: Task, name: str) -> Task:
    """The task that the default writer makes of the sentence, with the ranges that the world has measured."""
    file = world.path / "goals" / f"{name}.words.yaml"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        goal = manyheads.goal(
            truth.goal, environment=truth.environment, options=truth.content.options, world=world.path
        )
        goal.write(file)
    return manyheads.load_task(file)


def trained(world: SharedWorld, tasks: Sequence[Task], updates: int, overrides: Sequence[str]) -> float:
    """Seconds that training these heads took; each alone, as a user trains one."""
    start = time.monotonic()
    for task in tasks:
        manyheads.open_world(world.path, overrides=overrides).finetune(task, updates)
    return time.monotonic() - start


def played(world: SharedWorld, truth: Task, head: str | None, episodes: int) -> dict[str, Any]:
    """What the true task pays a head, or random actions, and the share of episodes that succeed by it."""
    from manyheads.learning.evaluate import play

    agent = world.head(head) if head else None
    found = play(truth, episodes, *((agent.world, agent.head) if agent else ()))
    returns = np.array([one.return_task for one in found])
    won = [bool(one.success) for one in found]
    return {"return": float(returns.mean()), "returns": returns.tolist(), "success": float(np.mean(won))}


def rows(results: Iterable[dict[str, Any]]) -> Table:
    """One line a goal."""
    view = Table("goal", "sentence", "random", "from words", "success", "from the truth", "success", "seconds")
    for one in results:
        cells = [one["goal"], one["sentence"], f"{one['random']['return']:.1f}"]
        for kind in ("words", "truth"):
            play = one.get(kind)
            cells += [f"{play['return']:.1f}", f"{play['success']:.0%}"] if play else ["", ""]
        view.add_row(*cells, f"{one['seconds']:.0f}")
    return view


@click.command()
@click.argument("world", type=click.Path(path_type=Path))
@click.option("--goal", "goals", multiple=True, type=click.Choice([*GOALS]), default=(*GOALS,), help="default: all")
@click.option("--updates", default=1000, show_default=True, type=click.IntRange(min=1), help="of each head")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="one setting of the heads' training")
@click.option("--truth", is_flag=True, help="train a head on each true reward, too")
@click.option("--episodes", default=10, show_default=True, type=click.IntRange(min=1), help="that each head plays")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
def main(
    world: Path,
    goals: tuple[str, ...],
    updates: int,
    overrides: tuple[str, ...],
    truth: bool,
    episodes: int,
    as_json: bool,
) -> None:
    """Write, train and play each goal on WORLD, a folder or the name of a packaged world."""
    shared = manyheads.load(world)
    results: list[dict[str, Any]] = []
    for name in goals:
        true = manyheads.load_task(GOALS[name], f"{name}.truth")
        one: dict[str, Any] = {"goal": name, "sentence": true.goal, "updates": updates}
        try:
            task = written(shared, true, name)
        except ManyheadsError as error:
            click.echo(f"{name}: {error}", err=True)
            continue
        one["seconds"] = trained(shared, [task], updates, overrides)
        if truth:
            trained(shared, [true], updates, overrides)
        shared = manyheads.load(world)
        one["random"] = played(shared, true, None, episodes)
        one["words"] = played(shared, true, task.name, episodes)
        if truth:
            one["truth"] = played(shared, true, true.name, episodes)
        results.append(one)
    click.echo(json.dumps(results, indent=1)) if as_json else Console().print(rows(results))


if __name__ == "__main__":
    main()
