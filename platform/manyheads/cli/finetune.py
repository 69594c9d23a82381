"""`manyheads finetune`: heads on a frozen world, in imagination alone or with new experience."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from manyheads.cli import options
from manyheads.cli.console import stdout_for_results
from manyheads.errors import ManyheadsError
from manyheads.kinds import split_overrides
from manyheads.learning.evaluate import bootstrap, play
from manyheads.learning.trainer import Trainer, by_progress
from manyheads.learning.transfer import (
    FRESH,
    choose_start,
    earnings,
    fit_predictor,
    rank_starts,
    start_from,
    starts,
    uncompiled,
)
from manyheads.report.metrics import Metrics
from manyheads.report.open_loggers import Loggers, Opener, choose_loggers
from manyheads.report.progress import Progress
from manyheads.report.text import number
from manyheads.storage.evaluations import Interval
from manyheads.storage.growth import grow, growth
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import RewardSettings, Task, TaskFile, load_task

EXPLORE = "explore/disagreement"
"""the reward that `--explore` collects with"""
AUTO = "auto"
CHECKED = 3
"""real episodes beside a prediction"""


@click.command()
@click.argument("world", type=click.Path(path_type=Path))
@click.argument("tasks", nargs=-1, required=True)
@click.option("--updates", default=2000, show_default=True, type=click.IntRange(min=0), help="updates in imagination")
@click.option(
    "--steps", default=0, show_default=True, type=click.IntRange(min=0), help="new rows to collect after that"
)
@click.option("--head", help="another kind of head than TASK names; it is then called TASK.KIND")
@click.option(
    "--start",
    default=FRESH,
    show_default=True,
    metavar="auto|fresh|TASK",
    help="what a new head begins as: auto takes the head that earns most in imagination",
)
@click.option(
    "--explore",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="rows to collect first, where the world model is least sure",
)
@click.option(
    "--check",
    default=CHECKED,
    show_default=True,
    type=click.IntRange(min=0),
    help="real episodes to play at the end, beside the predicted return; 0: predict nothing",
)
@click.option("--set", "overrides", multiple=True, metavar="LOGGER.OPTION=VALUE", help="an option of a logger")
@click.option("--json", "as_json", is_flag=True, help="print what was found before and after as JSON")
@options.log
def finetune(
    world: Path,
    tasks: tuple[str, ...],
    updates: int,
    steps: int,
    head: str | None,
    start: str,
    explore: int,
    check: int,
    overrides: tuple[str, ...],
    as_json: bool,
    loggers: tuple[str, ...],
) -> None:
    """Train a head for each of TASKS on the frozen WORLD; those of one environment train as one batch.

    TASKS are tasks' names, task files, or heads that WORLD already has. Ctrl-C saves; the same command goes on.
    """
    others, own = split_overrides(overrides, loggers)
    if others:
        raise ManyheadsError(f"--set {others[0]}: a frozen world keeps its settings; only options of --log can be set.")
    openers = choose_loggers(loggers, own)
    folder = WorldFolder.open(world)
    if "world" not in folder.checkpoint.names:
        raise ManyheadsError(f"{world} has not been trained yet; `manyheads train {world} TASK` comes first.")
    named = [folder.task(name) if name in folder.heads else load_task(name) for name in tasks]
    chosen = [task.with_head(head).built() for task in named]
    if len({task.name for task in chosen}) < len(chosen):
        raise ManyheadsError(f"{' '.join(tasks)}: a task is named twice; one head learns each.")
    grown = grow(folder, chosen)
    if gained := growth(folder, grown):
        click.echo(
            f"{gained} The frozen world model knows nothing of them: `manyheads train {world} {' '.join(tasks)}` "
            "trains it, too.",
            err=True,
        )
    for task in chosen:
        grown.save_task(task)
    found: dict[str, Any] = {}
    with stdout_for_results():
        if explore:
            for explorer in explorers(chosen):
                collect_first(grown, explorer, explore, openers)
        for group in by_progress(grown, chosen):
            found |= train_group(grown, group, updates, steps, start, check, openers)
    if as_json:
        click.echo(json.dumps(found, indent=1))


def explorers(tasks: Sequence[Task]) -> list[Task]:
    """A task for each environment whose reward is what the world model does not know yet."""
    found = {}
    for task in tasks:
        reward = RewardSettings(source=EXPLORE)
        content = TaskFile(
            version=1,
            environment=task.environment,
            options=dict(task.options),
            reward=reward,
            episode_steps=task.episode_steps,
            goal="Do what the world model cannot predict yet.",
        )
        found[task.instance.dynamics_key] = content.resolve(f"{task.environment}.explore")
    return [*found.values()]


def collect_first(folder: WorldFolder, task: Task, steps: int, openers: Mapping[str, Opener]) -> None:
    """Collects rows with a head that is paid for the unknown."""
    folder.save_task(task)
    trainer = Trainer(folder, [task], frozen=True)
    try:
        bar = Progress(steps, f"exploring {task.environment}", start=trainer.steps)
        with Metrics(folder.path, Loggers(openers, folder, [task])) as metrics, bar as progress:
            trainer.collect_and_learn(steps, progress, metrics)
    finally:
        trainer.close()


def train_group(
    folder: WorldFolder,
    tasks: Sequence[Task],
    updates: int,
    steps: int,
    start: str,
    check: int,
    openers: Mapping[str, Opener],
) -> dict[str, Any]:
    """Trains heads that learn from the same batches; returns what was found of each, JSON-able."""
    trainer = Trainer(folder, tasks, frozen=True)
    title = tasks[0].name if len(tasks) == 1 else f"{len(tasks)} heads"
    found: dict[str, dict[str, Any]] = {task.name: {} for task in tasks}
    try:
        with Progress(1, "reading what was recorded", unit="world") as progress:
            trainer.prepare(progress)
            progress.advance(1)
        with uncompiled(trainer.world):
            for task in tasks:
                found[task.name] = before(trainer, task, start)
        with Metrics(folder.path, Loggers(openers, folder, tasks)) as metrics:
            if trainer.learns:
                with Progress(updates, f"imagining {title}", unit="updates", start=trainer.updates) as progress:
                    trainer.imagine(updates, progress, metrics)
            else:
                with Progress(1, f"preparing {title}", unit="head") as progress:
                    trainer.imagine(0, progress, metrics)
                    progress.advance(1)
                for task in tasks:
                    say(f"{task.name} has nothing to train: its {task.head} acts as it is.")
                    say(f"`manyheads evaluate {folder.path} {task.name}` plays it.")
            if steps:
                with Progress(steps, f"collecting for {title}", start=trainer.steps) as progress:
                    trainer.collect_and_learn(steps, progress, metrics)
        with uncompiled(trainer.world):
            for task in tasks if check else ():
                found[task.name] |= after(trainer, task, check)
    finally:
        trainer.close()
    return found


def before(trainer: Trainer, task: Task, start: str) -> dict[str, Any]:
    """What recorded rows earn, and what the head begins as."""
    found: dict[str, Any] = {}
    earned = earnings(trainer.replay, task)
    if earned is not None:
        found["recorded"] = asdict(earned)
        say(f"{task.name}: {earned.share:.2%} of {earned.rows:,} recorded rows earn something.")
        if not earned.earning:
            rows = max(2000, earned.rows // 4)
            say(
                f"Imagination can't find what no row has shown. `--explore {rows}` collects first where the world "
                f"model is least sure; `manyheads train {trainer.folder.path} {task.name}` trains it, too."
            )
    if start == FRESH:
        return found
    if not trainer.is_new(task):
        say(f"{task.name} goes on from where it was; --start is for a new head.")
        return found
    chosen = start
    if start == AUTO:
        ranked = rank_starts(trainer, task, fit_predictor(trainer, task))
        found["candidates"] = [asdict(candidate) for candidate in ranked]
        chosen = choose_start(ranked)
        say(f"Imagined return under the reward of {task.name}, with what an ensemble is sure of (95%):")
        width = max(len(candidate.name) for candidate in ranked)
        for candidate in ranked:
            say(f"  {candidate.name:{width}}  {interval(candidate.predicted)}")
    start_from(trainer, task, chosen)
    say(f"{task.name} begins {'afresh' if chosen == FRESH else f'as {chosen}'}.")
    return found | {"start": chosen}


def after(trainer: Trainer, task: Task, episodes: int) -> dict[str, Any]:
    """The predicted return of the trained head beside that of real episodes."""
    head = trainer.heads[task.name]
    predicted = fit_predictor(trainer, task).predict(head, starts(trainer, task), task.episode_steps)
    with Progress(episodes, f"checking {task.name}", unit="episodes") as progress:
        played = play(task, episodes, trainer.world, head)
        progress.advance(episodes)
    real = bootstrap([result.return_task for result in played])
    say(f"{task.name}: predicted return {interval(predicted)}; {episodes} real episodes {interval(real)}.")
    if not predicted.low <= real.mean <= predicted.high:
        say(f"They differ: `manyheads why {trainer.folder.path} {task.name}` shows where.")
    return {"predicted": asdict(predicted), "real": asdict(real)}


def interval(found: Interval) -> str:
    return f"{number(found.mean)} [{number(found.low)}, {number(found.high)}]"


def say(text: str) -> None:
    click.echo(text, err=True)
