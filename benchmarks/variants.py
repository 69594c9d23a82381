"""The defaults compared with DreamerV3's own numbers and its variants: one world each, of the same task, seed and rows.

Each is trained and played as `manyheads train` and `manyheads evaluate` do it, in FOLDER/<task>/<variant>-<seed>.
Ctrl-C saves; the same command continues and leaves alone what is done. One seed says little: run several.

`dyn` and `vector` are the world's losses over the last 500 updates. They compare where they are the same measure: a
Gaussian's `dyn`, an absolute error's and a standardised `vector` are others.

    python benchmarks/variants.py FOLDER [--task dmc/reacher-easy …] [--variant dreamerv3 …] [--steps 8000] [--seed 0]
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from manyheads import atomic
from manyheads.learning.trainer import METRICS_EVERY
from manyheads.report import metrics
from manyheads.storage.evaluations import FILE

TASK, PRESET = "dmc/cartpole-upright", "demo"
NATURAL = "world.vectors=natural"

VARIANTS: dict[str, tuple[str, ...]] = {
    "default": (),
    "dreamerv3": (NATURAL, "world.free_nats=1", "optimizer.lr=4e-5", "optimizer.warmup=1000"),
    "natural": (NATURAL,),
    "gaussian": (NATURAL, "world.latent=gaussian"),
    "normal": (NATURAL, "world.latent=gaussian", "world.latent_prior=standard"),
    "absolute": (NATURAL, "world.reconstruction=absolute"),
    "dynamics": (NATURAL, "heads.actor_critic.policy_gradient=dynamics"),
    "harmonised": (NATURAL, "world.loss_weights=harmonised"),
    "separate": (NATURAL, "heads.actor_critic.gradients_into_world=false"),
}
"""The settings that make each variant, on top of the preset."""


def manyheads(*arguments: object) -> None:
    """Runs one command in its own process; Ctrl-C leaves it the time to save."""
    command = [sys.executable, "-m", "manyheads", *map(str, arguments)]
    with subprocess.Popen(command, stdout=sys.stderr) as process:
        if process.wait():
            raise click.ClickException(f"This command failed: {' '.join(command)}")


def is_done(world: Path, steps: int, episodes: int) -> bool:
    """Whether a world of so many rows has been played for so many episodes."""
    played = atomic.read_json(world / FILE) if (world / FILE).exists() else []
    return any(one["environment_steps"] >= steps and len(one["episodes"]) >= episodes for one in played)


def result(world: Path, task: str, variant: str) -> dict[str, Any]:
    """Returns with 95% intervals, the world's numbers over the last 500 updates and minutes of training."""
    played = {one["policy"]: one for one in atomic.read_json(world / FILE)}
    series = metrics.read(world)
    last = 500 // METRICS_EVERY
    return {
        "task": task,
        "variant": variant,
        "set": VARIANTS[variant],
        "steps": played["head"]["environment_steps"],
        "return": played["head"]["returns"],
        "random": played["random"]["returns"],
        "world": {
            name.removeprefix("world/"): fmean(one.value[-last:])
            for name, one in series.items()
            if name.startswith("world/") and one.value
        },
        "minutes": max((one.time[-1] for one in series.values() if one.time), default=0.0) / 60,
    }


def table(results: list[dict[str, Any]]) -> Table:
    """One line a task and variant."""
    view = Table("task", "variant", title="Mean return and bootstrap 95% interval")
    for heading in ("rows", "return", "random", "dyn", "vector", "minutes"):
        view.add_column(heading, justify="right")
    for one in results:
        returns = [f"{of['mean']:.0f} [{of['low']:.0f}, {of['high']:.0f}]" for of in (one["return"], one["random"])]
        losses = [f"{one['world'].get(name, math.nan):.3f}" for name in ("dyn", "vector")]
        view.add_row(one["task"], one["variant"], f"{one['steps']:,}", *returns, *losses, f"{one['minutes']:.1f}")
    return view


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--task", "tasks", multiple=True, default=(TASK,), show_default=True, help="may be given several times")
@click.option("--variant", "variants", multiple=True, type=click.Choice([*VARIANTS]), default=(*VARIANTS,))
@click.option("--steps", default=8000, show_default=True, type=click.IntRange(min=1), help="rows to collect for each")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--episodes", default=10, show_default=True, type=click.IntRange(min=1), help="of each evaluation")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
def main(
    folder: Path, tasks: tuple[str, ...], variants: tuple[str, ...], steps: int, seed: int, episodes: int, as_json: bool
) -> None:
    """Train and evaluate every variant in FOLDER, and print one line for each."""
    results = []
    for task in tasks:
        for variant in variants:
            world = folder / task / f"{variant}-{seed}"
            if not is_done(world, steps, episodes):
                overrides = [f"--set={setting}" for setting in (f"seed={seed}", *VARIANTS[variant])]
                manyheads("train", world, task, "--settings", PRESET, *overrides, "--steps", steps)
                manyheads("evaluate", world, task, "--episodes", episodes)
            results.append(result(world, task, variant))
    if as_json:
        click.echo(json.dumps({"settings": PRESET, "seed": seed, "results": results}, indent=1))
    else:
        Console().print(table(results))


if __name__ == "__main__":
    main()
