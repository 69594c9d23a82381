"""A world trained on two environments grows by a third, from a package that is not in this repository.

The old heads are played before and after. The new head's curve stands next to that of a world trained on it alone, over
equal steps of that environment. All three are trained jointly from then on, each with a third of the rows.

    pip install highway-env
    python benchmarks/growing.py FOLDER [--steps 6000] [--more 6000] [--third gymnasium/highway-fast-v0] [--json]
"""

from __future__ import annotations

from typing import Any

import click
from experiment import Experiment, curve, options, over_seeds, show

from manyheads import load_task
from manyheads.learning.evaluate import bootstrap_difference

OLD = ("dmc/cartpole-park_left", "minigrid/Empty-5x5-v0-goal")
SETTINGS = ("training.train_ratio=128",)
EACH = 2
"""environments stepped together of each task, once there are three"""


def before(run: Experiment, steps: int) -> dict[str, Any]:
    """Returns of the heads of the world that knows two environments."""
    world = run.trained("grown", OLD, steps, *SETTINGS, f"training.num_envs={3 * EACH}")
    return {name: run.returns(world, name) for name in OLD}


def after(run: Experiment, third: str, steps: int, more: int) -> dict[str, Any]:
    """Returns of all heads once the world has learned the third environment, too, and the new head's curve."""
    world = run.world("grown", *SETTINGS, f"training.num_envs={3 * EACH}").train(third, steps + more, add=True)
    found = {name: run.returns(world, name) for name in (*OLD, third)}
    return found | {"curve": curve(world, third, 1 / 3, since=steps)}


def alone(run: Experiment, third: str, steps: int) -> dict[str, Any]:
    """Returns and curve of a world that learns the third environment alone."""
    world = run.trained("alone", [third], steps, *SETTINGS, f"training.num_envs={EACH}")
    return run.returns(world, third) | {"curve": curve(world, third)}


@options(steps=6000, help="rows of the two environments")
@click.option(
    "--more", default=6000, show_default=True, type=click.IntRange(min=3), help="rows of all three, after that"
)
@click.option("--third", default="gymnasium/highway-fast-v0", show_default=True, help="the task that joins")
def main(runs: list[Experiment], steps: int, as_json: bool, more: int, third: str) -> None:
    """Grow a world in FOLDER by an environment, and print what becomes of its heads and how the new one learns."""
    new = load_task(third).name
    old = [run.kept("before", before, steps) for run in runs]
    grown = [run.kept("after", after, new, steps, more) for run in runs]
    single = [run.kept("alone", alone, new, more // 3) for run in runs]
    lines = []
    for name in OLD:
        was, now = ([returns for each in found for returns in each[name]["head"]] for found in (old, grown))
        lines.append(
            {
                "task": name,
                "random": over_seeds(each[name]["random"] for each in old),
                "before": over_seeds(each[name]["head"] for each in old),
                "after": over_seeds(each[name]["head"] for each in grown),
                "difference": bootstrap_difference(now, was),
                "alone": None,
                "curve": None,
                "curve alone": None,
            }
        )
    lines.append(
        {
            "task": new,
            "random": over_seeds(each[new]["random"] for each in grown),
            "before": None,
            "after": over_seeds(each[new]["head"] for each in grown),
            "difference": None,
            "alone": over_seeds(each["head"] for each in single),
            "curve": grown[0]["curve"],
            "curve alone": single[0]["curve"],
        }
    )
    show("Mean return and bootstrap 95% interval", lines, as_json, rows=steps, more=more, seeds=len(runs))


if __name__ == "__main__":
    main()
