"""A world that learns no task, by an explorer that is paid for what the model cannot predict; then heads for goals.

Those heads are trained in imagination, with no more steps. Each is compared with the head of a world that spent as many
steps on that goal's own training; it gets as many updates in imagination, too. With `--by dmc/cartpole-wander` a policy
that wanders at random collects instead, or as well.

    python benchmarks/exploring.py FOLDER [--steps 8000] [--updates 2000] [--by TASK …] [--seeds 1] [--json]
"""

from __future__ import annotations

from typing import Any

import click
from cartpole_goals import GOALS, true_task
from experiment import Experiment, options, over_seeds, show

from manyheads import load_task
from manyheads.filenames import file_name

SETTINGS = ("training.train_ratio=128",)
REACHED = ("park_left", "park_right", "spin")


def reached(run: Experiment, by: str, goal: str, steps: int, updates: int) -> dict[str, Any]:
    """Returns of the goal's head on a world whose rows the task `by` collected; the goal itself, or an explorer."""
    task = true_task(goal) if by == goal else load_task(by)
    world = run.trained(task.slug, [task], steps, *SETTINGS)
    world.finetune(true_task(goal), updates)
    return run.returns(world, goal)


@options(steps=8000, help="rows of each world")
@click.option("--updates", default=2000, show_default=True, type=click.IntRange(min=1), help="of each head")
@click.option("--by", "explorers", multiple=True, default=("dmc/cartpole-explore",), show_default=True)
@click.option("--goal", "goals", multiple=True, type=click.Choice([*GOALS]), default=REACHED, show_default=True)
def main(
    runs: list[Experiment], steps: int, as_json: bool, updates: int, explorers: tuple[str, ...], goals: tuple[str, ...]
) -> None:
    """Train worlds in FOLDER by exploration and on single goals; print how heads do on both."""
    lines = []
    for goal in goals:
        line: dict[str, Any] = {"goal": goal}
        for by in (goal, *explorers):
            found = [run.kept(f"{goal}-{file_name(by)}", reached, by, goal, steps, updates) for run in runs]
            line["random"] = over_seeds(each["random"] for each in found)
            line["own training" if by == goal else by] = over_seeds(each["head"] for each in found)
        lines.append(line)
    show("Mean return and bootstrap 95% interval", lines, as_json, rows=steps, seeds=len(runs))


if __name__ == "__main__":
    main()
