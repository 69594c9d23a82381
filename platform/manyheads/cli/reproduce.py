"""`manyheads reproduce`: trains on a published benchmark task and compares the run with the published scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from manyheads.api.opening import open_or_create
from manyheads.cli import console
from manyheads.errors import ManyheadsError
from manyheads.filenames import file_name
from manyheads.jobs import Job, rows_of
from manyheads.kinds import split_overrides
from manyheads.learning.trainer import Trainer
from manyheads.parameters import NamedPath
from manyheads.registry import registry
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
@click.argument("task", required=False)
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
@click.option(
    "--runner", default="local", show_default=True, metavar="NAME", help="where the tasks of a whole suite are trained"
)
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
def reproduce(
    task: str | None,
    suite_name: str | None,
    steps: int | None,
    seed: int | None,
    overrides: tuple[str, ...],
    world: Path | None,
    runner: str,
    as_json: bool,
) -> None:
    """Train on TASK by the published protocol and say whether the run is above, inside or below the published band.

    Warns early of a run that gets nowhere. Writes `curve.svg` and `curve.png` into the world's folder. Ctrl-C saves;
    the same command continues. Without TASK, every task of the suite is trained, where the runner takes them.
    """
    if task is None:
        _whole_suite(suite_name, steps, seed or 0, overrides, world, runner, as_json)
        return
    suite = suite_of(task) if suite_name is None else load_suite(suite_name)
    marks = bands(task, suite)
    steps = steps or marks[0].mark
    world = world or Path("reproduce") / suite.name / _folder(task, seed or 0, overrides)
    asked = (*([] if seed is None else [f"seed={seed}"]), *overrides)
    preset = None if (world / WORLD).exists() else suite.settings
    tasks, say = [_as_published(task, suite)], partial(click.echo, err=True)
    folder, (chosen,) = open_or_create(world, tasks, preset, asked, say, may_change=False)
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


def _whole_suite(
    name: str | None,
    steps: int | None,
    seed: int,
    overrides: tuple[str, ...],
    folder: Path | None,
    runner: str,
    as_json: bool,
) -> None:
    """Every task of a suite, each a separate `manyheads reproduce TASK` that resumes where it stopped."""
    if name is None:
        raise ManyheadsError("Name a task, or a suite whose tasks are all to be trained: --suite NAME.")
    kind, suite = registry().runners[runner], load_suite(name)
    if kind.run_all is None:
        raise ManyheadsError(f"The runner {runner} takes one run at a time; name a task, or another runner.")
    others, own = split_overrides(overrides, [runner])
    settings, folder = kind.read_settings(own[runner]), folder or Path("reproduce") / suite.name
    jobs, published = [], {}
    for task in suite.scores:
        chosen, goal = _as_published(task, suite), steps or bands(task, suite)[0].mark
        place = folder / _folder(task, seed, others)
        flags = [part for text in others for part in ("--set", text)]
        command = ("reproduce", task, "--suite", name, "--steps", str(goal), "--seed", str(seed), "--world", str(place))
        repeat = int(chosen.options.get("action_repeat", 1))
        jobs.append(Job(task, (*command, *flags), place, goal // repeat))
        published[task] = chosen, repeat
    done = sum(min(rows_of(job.world), job.rows) for job in jobs)
    with Progress(sum(job.rows for job in jobs), f"reproducing {name}", start=done) as progress:
        failed = kind.run_all(jobs, progress, settings)
    found = {
        job.name: compare(
            _returns(job.world, published[job.name][0]), rows_of(job.world), published[job.name][1], job.name, suite
        )
        for job in jobs
    }
    _print_suite(found, as_json)
    if failed:
        words = "; ".join(f"{task}: {text}" for task, text in failed.items())
        raise ManyheadsError(f"{len(failed)} of {len(jobs)} tasks failed; the same command tries them again. {words}")


def _folder(task: str, seed: int, overrides: Sequence[str]) -> str:
    """Each way of running a task has its own folder."""
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


def _as_data(task: str, found: Sequence[Comparison]) -> list[dict[str, Any]]:
    return [
        {"task": task, "mark": c.band.mark, "score": c.score, "episodes": c.episodes, "place": c.place,
         "published": {"mean": c.band.mean, "low": c.band.low, "high": c.band.high}}
        for c in found
    ]  # fmt: skip


def _cells(found: Comparison) -> dict[str, str]:
    return {
        "steps": f"{found.band.mark:,}",
        "this run": number(found.score),
        "published mean": number(found.band.mean),
        "published band": f"{number(found.band.low)} to {number(found.band.high)}",
        "place": found.place,
    }


def _print_suite(found: Mapping[str, Sequence[Comparison]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([row for task, own in found.items() for row in _as_data(task, own)], indent=1))
        return
    rows = [{"task": plain(task), **_cells(each)} for task, own in found.items() for each in own]
    if not rows:
        click.echo("Nothing to compare yet: no task has reached its first published mark.", err=True)
        return
    console.table(rows)


def _print(task: str, found: list[Comparison], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_as_data(task, found), indent=1))
        return
    if not found:
        return
    click.echo(f"{plain(task)}: mean return of training episodes before each mark")
    console.table([_cells(each) for each in found])
