"""Training heads on a frozen world: those of one environment as one batch, or wherever a runner trains them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

from manyheads.api.run import RunOptions
from manyheads.errors import ManyheadsError
from manyheads.experience.replay_folder import lock_folder
from manyheads.learning.run_records import group_by_progress
from manyheads.learning.trainer import Trainer
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
from manyheads.report.open_loggers import Opener
from manyheads.report.text import mean_and_interval
from manyheads.runners import HeadsTrainer
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import Task

AUTO = "auto"

Found = dict[str, dict[str, Any]]
"""by task, JSON-able: `recorded` (what recorded rows earn), `candidates` and `start`, `predicted`"""


def train_heads(
    folder: WorldFolder,
    groups: Sequence[Sequence[Task]],
    updates: int,
    steps: int,
    start: str,
    predict: bool,
    options: RunOptions,
    openers: Mapping[str, Opener],
    elsewhere: HeadsTrainer | None,
) -> Found:
    """Trains heads, those of a group from the same batches; in imagination `elsewhere` where that is given."""
    found: Found = {}
    waiting: list[Sequence[Task]] = []
    made = 0
    for tasks in groups:
        with closing(Trainer(folder, tasks, frozen=True)) as trainer:
            if trainer.learns and not updates and not steps:
                raise ManyheadsError("0 updates and 0 steps: there is nothing to do. Ask for some of either.")
            _prepare(trainer, options)
            found |= _begin(trainer, start, options)
            if elsewhere is not None and trainer.learns and trainer.updates < updates:
                trainer.save()
                waiting.append(tasks)
                made += trainer.updates * len(tasks)
                continue
            with options.metrics(folder, tasks, openers) as metrics:
                _imagine(trainer, updates, steps, options, metrics)
                _collect(trainer, steps, options, metrics)
            _predict(trainer, found if predict else {})
    if elsewhere is None or not waiting:
        return found
    imagined = [task for tasks in waiting for task in tasks]
    shown = options.progress(updates * len(imagined), f"imagining {_title(imagined)}", "updates", made)
    with lock_folder(folder.path / "replay"), options.metrics(folder, imagined, openers) as metrics, shown as progress:
        elsewhere(folder, waiting, updates, progress, metrics)
    for tasks in group_by_progress(folder, imagined) if steps or predict else ():
        with closing(Trainer(folder, tasks, frozen=True)) as trainer:
            _prepare(trainer, options)
            with options.metrics(folder, tasks, openers) as metrics:
                _collect(trainer, steps, options, metrics)
            _predict(trainer, found if predict else {})
    return found


def _title(tasks: Sequence[Task]) -> str:
    return ", ".join(task.name for task in tasks) if len(tasks) < 4 else f"{len(tasks)} heads"


def _prepare(trainer: Trainer, options: RunOptions) -> None:
    with options.progress(1, "reading what is recorded", "world") as progress:
        trainer.prepare(progress)
        progress.advance(1)


def _begin(trainer: Trainer, start: str, options: RunOptions) -> Found:
    """What is found before the first update; writes down each task, and lets its head begin as it is to."""
    found: Found = {}
    with uncompiled(trainer.world):
        for task in trainer.tasks:
            found[task.name] = _before(trainer, task, start, options)
            trainer.folder.save_task(task)
    return found


def _imagine(trainer: Trainer, updates: int, steps: int, options: RunOptions, metrics: Metrics) -> None:
    """Trains in imagination, in this process."""
    tasks, title = trainer.tasks, _title(trainer.tasks)
    if not trainer.learns:
        with options.progress(1, f"preparing {title}", "head") as progress:
            trainer.imagine(0, progress, metrics)
            progress.advance(1)
        for task in tasks:
            options.say(f"{task.name} has nothing to train: its {task.head} acts as it is.")
            options.say(f"`manyheads evaluate {trainer.folder.path} {task.name}` plays it.")
    elif trainer.updates >= updates and trainer.steps >= steps:
        made, own = f"{trainer.updates:,} updates", f"{trainer.steps:,} steps"
        options.say(f"The head of {title} has made {made} and {own}; --updates and --steps count in all.")
    else:
        total = max(updates, trainer.updates)
        with options.progress(total, f"imagining {title}", "updates", trainer.updates) as progress:
            trainer.imagine(updates, progress, metrics, options.monitoring)


def _collect(trainer: Trainer, steps: int, options: RunOptions, metrics: Metrics) -> None:
    """Continues with rows that the heads collect."""
    if steps and not trainer.stopped:
        with options.progress(steps, f"collecting for {_title(trainer.tasks)}", start=trainer.steps) as progress:
            trainer.collect_and_learn(steps, progress, metrics, options.monitoring)


def _predict(trainer: Trainer, found: Found) -> None:
    """Adds what each head will earn to what was found of its task."""
    with uncompiled(trainer.world):
        for task in trainer.tasks if found else ():
            predictor = fit_predictor(trainer, task)
            predicted = predictor.predict(trainer.heads[task.name], starts(trainer, task), task.episode_steps)
            found[task.name]["predicted"] = asdict(predicted)


def _before(trainer: Trainer, task: Task, start: str, options: RunOptions) -> dict[str, Any]:
    """What recorded rows earn, and what the head begins as."""
    found: dict[str, Any] = {}
    earned = earnings(trainer.replay, task)
    if earned is not None:
        found["recorded"] = asdict(earned)
        options.say(f"{task.name}: {earned.share:.2%} of {earned.rows:,} recorded rows earn something.")
        if not earned.earning:
            rows, path = max(2000, earned.rows // 4), trainer.folder.path
            options.say(
                f"Imagination can't find what no row has shown. `--explore {rows}` collects first where the world "
                f"model is least sure; `manyheads train {path} --add {task.name}` trains it, too."
            )
    if start == FRESH:
        return found
    if not trainer.is_new(task):
        options.say(f"{task.name} resumes from where it was: a start is for a new head.")
        return found
    chosen = start
    if start == AUTO:
        ranked = rank_starts(trainer, task, fit_predictor(trainer, task))
        found["candidates"] = [asdict(candidate) for candidate in ranked]
        chosen = choose_start(ranked)
        options.say(f"Imagined return under the reward of {task.name}, and how sure an ensemble is (95%):")
        width = max(len(candidate.name) for candidate in ranked)
        for candidate in ranked:
            options.say(f"  {candidate.name:{width}}  {mean_and_interval(candidate.predicted)}")
    start_from(trainer, task, chosen)
    options.say(f"{task.name} begins {'afresh' if chosen == FRESH else f'as {chosen}'}.")
    return found | {"start": chosen}
