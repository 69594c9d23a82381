"""Records the rows of simulators once, in a folder: those of a split, or those that a writer practises on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from benchmarks.nl2reward.goals import goals
from benchmarks.nl2reward.rows import ROWS, together, world

from manyheads.environment.contract import Instance
from manyheads.registry import registry
from manyheads.report.progress import Progress

PRACTICE = (
    "dmc/cartpole", "dmc/hopper", "dmc/pendulum", "dmc/reacher", "dmc/fish", "dmc/manipulator", "dmc/quadruped",
    "dmc/humanoid", "dmc/lqr", "dmc/stacker", "gymnasium/MountainCarContinuous-v0", "gymnasium/CartPole-v1",
    "minigrid/DoorKey-5x5-v0", "minigrid/GoToDoor-5x5-v0", "minigrid/UnlockPickup-v0",
)  # fmt: skip
"""environments to practise on: none is of the reported split"""


@click.command()
@click.argument("which", type=click.Choice(["practice", "tuning", "reported"]))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="where the rows are kept")
@click.option("--rows", default=ROWS, show_default=True, type=click.IntRange(min=600), help="recorded an environment")
def main(which: str, data: Path, rows: int) -> None:
    """Record what WHICH needs; what is there already is kept, so the same command continues. Prints the folders."""
    groups = _needed(which)
    with Progress(len(groups), "recording", unit="simulators") as progress:
        for instances in groups:
            click.echo(world(instances, rows, data=data))
            progress.advance(1)


def _needed(which: str) -> Sequence[Sequence[Instance]]:
    """Instances that share rows."""
    if which == "practice":
        return [[registry().environments[name].instance({})] for name in PRACTICE]
    return [*together(goal.instance for goal in goals("tuning" if which == "tuning" else "reported")).values()]


if __name__ == "__main__":
    main()
