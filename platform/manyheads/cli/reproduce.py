"""`manyheads reproduce`: trains on a published benchmark task and compares the run with the published scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from manyheads.cli import console
from manyheads.cli.train import open_or_create
from manyheads.filenames import file_name
from manyheads.learning.trainer import Trainer
from manyheads.parameters import NamedPath
from manyheads.report.metrics import Metrics, Series, read
from manyheads.report.open_loggers import Loggers, choose_loggers
from manyheads.report.progress import Progress
from manyheads.report.published import Comparison, bands, compare, draw, load_suite, stuck, suite_of
from manyheads.report.text import number, plain
from manyheads.storage.world_folder import WORLD
from manyheads.suites import Suite
from manyheads.task import Task, load_task

EARLY = (
    "{task} at {at:,} steps: {score:.0f}, no better than its first episodes and below the way to the published band "
    "({low:.0f} here). Perhaps something is wrong: compare settings and losses."
)


@click.command()
@click.argument("task")
@click.option(
    "--suite", "suite_name", metavar="NAME", help="default: the first of `manyheads list suites` that has TASK"
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="environment steps, repeated actions counted; default: to the first published mark",
)
@click.option("--seed", type=click.IntRange(min=0), help="default: 0")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="one setting, in addition to the suite's")
@click.option("--world", type=NamedPath(), help="where; default reproduce/SUITE/TASK-SEED-SETTINGS")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
def reproduce(
    task: str,
    suite_name: str | None,
    steps: int | None,
    seed: int | None,
    overrides: tuple[str, ...],
    world: Path | None,
    as_json: bool,
) -> None:
    """Train on TASK by the published protocol and say whether the run is above, inside or below the published band.

    Warns early of a run that gets nowhere. Writes `curve.svg` and `curve.png` into the world's folder. Ctrl-C saves;
    the same command goes on.
    """
    suite = suite_of(task) if suite_name is None else load_suite(suite_name)
    marks = bands(task, suite)
    steps = steps or marks[0].mark
    world = world or Path("reproduce") / suite.name / _folder(task, seed or 0, overrides)
    asked = (*([] if seed is None else [f"seed={seed}"]), *overrides)
    preset = None if (world / WORLD).exists() else suite.settings
    folder, (chosen,) = open_or_create(world, [_as_published(task, suite)], preset, asked)
    folder.save_task(chosen)
    repeat = int(chosen.options.get("action_repeat", 1))
    trainer = Trainer(folder, [chosen])
    stops = sorted(
        {*range(suite.window, steps, suite.window), *(band.mark for band in marks if band.mark < steps), steps}
    )
    told = 0
    logger = Loggers(choose_loggers(["tensorboard"], {}), folder, [chosen])
    with (
        Metrics(world, logger) as metrics,
        Progress(steps // repeat, f"reproducing {task}", start=trainer.steps) as progress,
    ):
        try:
            for stop in [stop for stop in stops if stop // repeat > trainer.steps] or [steps]:
                trainer.collect_and_learn(stop // repeat, progress, metrics)
                returns = _returns(world, chosen)
                found = compare(returns, trainer.steps, repeat, task, suite)
                for comparison in found[told:]:
                    progress.say(_sentence(task, comparison))
                told = len(found)
                if early := stuck(returns, trainer.steps, repeat, task, suite):
                    progress.say(EARLY.format(task=task, at=early.band.mark, score=early.score, low=early.band.low))
        finally:
            trainer.close()
    figure = draw(returns, repeat, task, suite)
    figure.savefig(world / "curve.svg")
    figure.savefig(world / "curve.png", dpi=120)
    if not found:
        click.echo(f"Nothing to compare yet: the first published mark is at {marks[0].mark:,} steps.", err=True)
    _print(task, found, as_json)


def _folder(task: str, seed: int, overrides: Sequence[str]) -> str:
    """Each way of running a task has a folder of its own."""
    settings = sorted({override.partition("=")[0]: override for override in overrides}.values())
    return "-".join([file_name(task), str(seed), *map(file_name, settings)])


def _as_published(name: str, suite: Suite) -> Task:
    """A packaged task, observed as in the published runs."""
    task = load_task(name).content
    return task.model_copy(update={"options": {**task.options, **suite.task_options(name)}}).resolve(name).built()


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
    if not found:
        return
    click.echo(f"{plain(task)}: mean return of training episodes before each mark")
    console.table(
        [
            {
                "steps": f"{c.band.mark:,}",
                "this run": number(c.score),
                "published mean": number(c.band.mean),
                "published band": f"{number(c.band.low)} to {number(c.band.high)}",
                "place": c.place,
            }
            for c in found
        ]
    )
