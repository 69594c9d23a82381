"""One world over seven environments that mix vectors, pictures, grids, continuous and discrete actions.

Each head is compared with random actions, and its curve with that of a world trained on its task alone, over equal
steps of that environment. Every environment is stepped equally often, and every row is replayed equally often.

    python benchmarks/mixture.py FOLDER [--steps 21000] [--seeds 1] [--alone gymnasium/CartPole-v1 …] [--json]
"""

from __future__ import annotations

from typing import Any

import click
from experiment import Experiment, curve, options, over_seeds, show

from manyheads import Task, TaskFile, load_task

NAMED = (
    "dmc/cartpole-park_left",
    "dmc/reacher-easy",
    "dmc/walker-stand",
    "gymnasium/CartPole-v1",
    "minigrid/Empty-5x5-v0-goal",
)
PICTURED = "dmc/cartpole-keep_up"
CROSS = TaskFile.model_validate(
    {
        "version": 1,
        "environment": "atari/Freeway",
        "reward": {
            "source": "spec",
            "spec": {
                "version": 1,
                "environment": "atari/Freeway",
                "reward": {"x": {"signal": "player_y"}, "to": {"shape": "ramp", "low": 187, "high": 100}},
            },
        },
        "episode_steps": 250,
        "goal": "Bring the chicken far up the road.",
    }
)
"""Pays on the way: random actions never cross the road, so that its score alone would teach nothing in so few steps."""
SETTINGS = ("training.train_ratio=64",)


def tasks() -> dict[str, Task]:
    """By name: registered ones, dm_control's cartpole seen in pictures of 64 x 64 pixels alone, and a game."""
    seen = load_task(PICTURED).content
    pictured = seen.model_copy(update={"options": {**seen.options, "image_size": 64, "vector": False}})
    own = {f"{PICTURED}.pixels": pictured, "atari/Freeway-cross": CROSS}
    return {name: load_task(name) for name in NAMED} | {name: one.resolve(name) for name, one in own.items()}


def together(run: Experiment, names: tuple[str, ...], steps: int) -> dict[str, Any]:
    """Returns and curve of each head of the world that learns everything."""
    every = [tasks()[name] for name in names]
    world = run.trained("together", every, steps, *SETTINGS, f"training.num_envs={len(every)}")
    return {name: run.returns(world, name) | {"curve": curve(world, name, 1 / len(every))} for name in names}


def alone(run: Experiment, name: str, steps: int) -> dict[str, Any]:
    """The same of a world that learns one task."""
    task = tasks()[name]
    world = run.trained(f"alone-{task.slug}", [task], steps, *SETTINGS, "training.num_envs=1")
    return run.returns(world, name) | {"curve": curve(world, name)}


@options(steps=21_000)
@click.option("--task", "names", multiple=True, type=click.Choice([*tasks()]), default=(*tasks(),), help="in the world")
@click.option("--alone", "singles", multiple=True, type=click.Choice([*tasks()]), help="trained alone, too")
def main(runs: list[Experiment], steps: int, as_json: bool, names: tuple[str, ...], singles: tuple[str, ...]) -> None:
    """Train one world on everything in FOLDER, and single ones to compare with; print a line for each head."""
    shared = [run.kept("together", together, names, steps) for run in runs]
    lines = []
    for name in names:
        slug = tasks()[name].slug
        own = [run.kept(f"alone-{slug}", alone, name, steps // len(names)) for run in runs if name in singles]
        lines.append(
            {
                "task": name,
                "random": over_seeds(each[name]["random"] for each in shared),
                "head": over_seeds(each[name]["head"] for each in shared),
                "alone": over_seeds(each["head"] for each in own) if own else None,
                "curve": shared[0][name]["curve"],
                "curve alone": own[0]["curve"] if own else None,
            }
        )
    show("Mean return and bootstrap 95% interval", lines, as_json, rows=steps, seeds=len(runs))


if __name__ == "__main__":
    main()
