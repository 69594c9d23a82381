"""`manyheads reproduce`: trains on a published benchmark task and compares the run with the published scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import click
from rich.console import Console
from rich.table import Table

from manyheads.cli.train import open_or_create
from manyheads.learning.trainer import Trainer
from manyheads.report.metrics import Metrics, Series, read
from manyheads.report.progress import Progress
from manyheads.report.published import Comparison, Suite, bands, compare, draw
from manyheads.task import Task

PRESETS = {"dmc_proprio": "proprio", "dmc_vision": "pixels", "atari100k": "atari100k"}


@click.command()
@click.argument("task")
@click.option("--suite", type=click.Choice(get_args(Suite)), default="dmc_proprio", show_default=True)
@click.option(
    "--steps",
    default=50_000,
    show_default=True,
    type=click.IntRange(min=1),
    help="environment steps, repeated actions counted",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="one setting; only for a new run")
@click.option("--world", type=click.Path(path_type=Path), help="where; default reproduce/SUITE/TASK-SEED")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
def reproduce(
    task: str, suite: Suite, steps: int, seed: int, overrides: tuple[str, ...], world: Path | None, as_json: bool
) -> None:
    """Train on TASK by the published protocol and say whether the run is above, inside or below the published band.

    Writes `curve.svg` and `curve.png` into the world's folder. Ctrl-C saves; the same command goes on.
    """
    bands(task, suite)
    world = world or Path("reproduce") / suite / f"{task.replace('/', '__')}-{seed}"
    fresh = not (world / "world.yaml").exists()
    asked = (f"seed={seed}", *overrides)
    folder, chosen = open_or_create(world, [task], PRESETS[suite] if fresh else None, asked if fresh else ())
    folder.save_task(chosen[0])
    repeat = int(chosen[0].options.get("action_repeat", 1))
    trainer = Trainer(folder, chosen)
    rows = steps // repeat
    told = 0
    with Metrics(world) as metrics, Progress(rows, f"reproducing {task}", start=trainer.steps) as progress:
        try:
            for mark in [*(band.mark for band in bands(task, suite)[0] if band.mark < steps), steps]:
                trainer.collect_and_learn(mark // repeat, progress, metrics)
                for comparison in compare(_returns(world, chosen[0]), trainer.steps, repeat, task, suite)[told:]:
                    progress.say(_sentence(task, comparison))
                    told += 1
        finally:
            trainer.close()
    returns = _returns(world, chosen[0])
    figure = draw(returns, repeat, task, suite)
    figure.savefig(world / "curve.svg")
    figure.savefig(world / "curve.png", dpi=120)
    _print(task, compare(returns, trainer.steps, repeat, task, suite), as_json)


def _returns(world: Path, task: Task) -> Series:
    return read(world).get(f"{task.name}/simulator", Series())


def _sentence(task: str, found: Comparison) -> str:
    band = found.band
    warning = " Something is wrong: stop and compare settings and losses." if found.place == "below" else ""
    return (
        f"{task} at {band.mark:,} steps: {found.score:.0f}, {found.place} the published band "
        f"{band.low:.0f} to {band.high:.0f} (mean {band.mean:.0f}).{warning}"
    )


def _print(task: str, found: list[Comparison], as_json: bool) -> None:
    if as_json:
        rows = [
            {"task": task, "mark": c.band.mark, "score": c.score, "episodes": c.episodes, "place": c.place,
             "published": {"mean": c.band.mean, "low": c.band.low, "high": c.band.high}}
            for c in found
        ]  # fmt: skip
        click.echo(json.dumps(rows, indent=1))
        return
    view = Table(title=f"{task}: mean return of training episodes before each mark")
    for heading in ("steps", "this run", "published mean", "published band", "place"):
        view.add_column(heading, justify="right")
    for c in found:
        span = f"{c.band.low:.0f} to {c.band.high:.0f}"
        view.add_row(f"{c.band.mark:,}", f"{c.score:.1f}", f"{c.band.mean:.1f}", span, c.place)
    Console().print(view)
