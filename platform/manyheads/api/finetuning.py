"""Training heads on a frozen world: those of one environment as one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from manyheads.api.opening import open_with
from manyheads.api.run import AnyTask, RunOptions, resolve_task
from manyheads.errors import ManyheadsError, unknown
from manyheads.learning.imagined_play import STEPS, ImaginedPlay, imagined_plays
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
from manyheads.report.open_loggers import Opener
from manyheads.report.text import mean_and_interval
from manyheads.settings import MACHINE
from manyheads.storage.growth import grow, growth
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import RewardSettings, Task, TaskFile

EXPLORE = "explore/disagreement"
"""the reward that is collected with where the world model is least sure"""
AUTO = "auto"

Found = dict[str, dict[str, Any]]
"""by task, JSON-able: `recorded` (what recorded rows earn), `candidates` and `start`, `predicted`"""


def finetune(
    path: Path,
    tasks: Sequence[AnyTask],
    updates: int,
    steps: int,
    options: RunOptions,
    *,
    head: str | None = None,
    overrides: Sequence[str] = (),
    start: str = FRESH,
    explore: int = 0,
    predict: bool = False,
) -> Found:
    """Makes `updates` updates of each task's head in imagination, then continues until `steps` rows are collected.

    `head` is another kind of head than the tasks name; a task is then called NAME.KIND. A new head begins as `start`:
    fresh, as the head of that name, or (auto) as the one that earns most in imagination. `explore` rows are collected
    first with a head that is paid for the unknown. `predict`: what each head will earn. Of the settings, those of the
    machine may be set. Returns what was found of each task, under its name.
    """
    if others := [each for each in overrides if each.partition("=")[0] not in MACHINE]:
        raise ManyheadsError(
            f"--set {others[0]}: a frozen world keeps its settings. Those of the machine can be set "
            f"({', '.join(MACHINE)}), and options of --log."
        )
    openers = options.openers()
    folder = open_with(path, None, overrides, options.say, may_change=False)
    if "world" not in folder.checkpoint.names:
        raise ManyheadsError(f"{path} has not been trained yet; `manyheads train {path} TASK` comes first.")
    chosen = [_resolve(folder, task).with_head(head).built() for task in tasks]
    if len({task.name for task in chosen}) < len(chosen):
        names = sorted(task.name for task in chosen)
        raise ManyheadsError(f"{', '.join(names)}: a task is named twice; one head learns each.")
    if start not in (FRESH, AUTO, *folder.heads):
        raise unknown(f"head in {path} to begin as", start, (FRESH, AUTO, *folder.heads))
    folder = _grown(folder, chosen, options)
    for explorer in _explorers(chosen) if explore else ():
        _collect_first(folder, explorer, explore, options, openers)
    found: Found = {}
    for group in group_by_progress(folder, chosen):
        found |= _train(folder, group, updates, steps, start, predict, options, openers)
    return {task.name: found[task.name] for task in chosen}


def imagine(
    path: Path, tasks: Sequence[AnyTask], updates: int, options: RunOptions, steps: int = STEPS
) -> dict[str, ImaginedPlay]:
    """Trains heads of one environment as one batch on the frozen world, and plays each in imagination.

    No environment is stepped. The heads stay in the world's folder, and the same call continues with them; raises
    ManyheadsError for tasks of different environments.
    """
    chosen = [_resolve(WorldFolder.open(path), task).built() for task in tasks]
    if len({task.instance.dynamics_key for task in chosen}) > 1:
        raise ManyheadsError("Heads that are compared in imagination are of one environment.")
    finetune(path, chosen, updates, 0, options)
    with (
        closing(Trainer(WorldFolder.open(path), chosen, frozen=True)) as trainer,
        options.progress(1, f"playing {len(chosen)} heads in imagination", "world") as progress,
    ):
        trainer.prepare(progress)
        with uncompiled(trainer.world):
            found = imagined_plays(trainer, steps)
        progress.advance(1)
    return found


def _resolve(folder: WorldFolder, task: AnyTask) -> Task:
    known = isinstance(task, str) and task in folder.heads
    return folder.task(str(task)) if known else resolve_task(folder, task)


def _grown(folder: WorldFolder, tasks: Sequence[Task], options: RunOptions) -> WorldFolder:
    """The world with the tasks' environments, which a frozen model has never seen."""
    grown = grow(folder, tasks)
    if gained := growth(folder, grown):
        names = " ".join(task.name for task in tasks)
        options.say(
            f"{gained} The frozen world model knows nothing of them: `manyheads train {folder.path} --add {names}` "
            "trains it, too."
        )
    return grown


def _explorers(tasks: Sequence[Task]) -> list[Task]:
    """A task for each environment, whose reward is what the world model does not know yet."""
    found = {}
    for task in tasks:
        content = TaskFile(
            version=1,
            environment=task.environment,
            options=dict(task.options),
            reward=RewardSettings(source=EXPLORE),
            episode_steps=task.episode_steps,
            goal="Do what the world model cannot predict yet.",
        )
        found[task.instance.dynamics_key] = content.resolve(f"{task.environment}.explore").built()
    return [*found.values()]


def _collect_first(
    folder: WorldFolder, task: Task, steps: int, options: RunOptions, openers: Mapping[str, Opener]
) -> None:
    """Collects rows with a head that is paid for the unknown."""
    with closing(Trainer(folder, [task], frozen=True)) as trainer:
        folder.save_task(task)
        shown = options.progress(steps, f"exploring {task.environment}", start=trainer.steps)
        with options.metrics(folder, [task], openers) as metrics, shown as progress:
            trainer.collect_and_learn(steps, progress, metrics)


def _train(
    folder: WorldFolder,
    tasks: Sequence[Task],
    updates: int,
    steps: int,
    start: str,
    predict: bool,
    options: RunOptions,
    openers: Mapping[str, Opener],
) -> Found:
    """Trains heads that learn from the same batches."""
    title = ", ".join(task.name for task in tasks) if len(tasks) < 4 else f"{len(tasks)} heads"
    found: Found = {}
    with closing(Trainer(folder, tasks, frozen=True)) as trainer:
        if trainer.learns and not updates and not steps:
            raise ManyheadsError("0 updates and 0 steps: there is nothing to do. Ask for some of either.")
        with options.progress(1, "reading what is recorded", "world") as progress:
            trainer.prepare(progress)
            progress.advance(1)
        with uncompiled(trainer.world):
            for task in tasks:
                found[task.name] = _before(trainer, task, start, options)
                folder.save_task(task)
        with options.metrics(folder, tasks, openers) as metrics:
            if trainer.learns and trainer.updates >= updates and trainer.steps >= steps:
                made, own = f"{trainer.updates:,} updates", f"{trainer.steps:,} steps"
                options.say(f"The head of {title} has made {made} and {own}; --updates and --steps count in all.")
            elif trainer.learns:
                total = max(updates, trainer.updates)
                with options.progress(total, f"imagining {title}", "updates", trainer.updates) as progress:
                    trainer.imagine(updates, progress, metrics, options.monitoring)
            else:
                with options.progress(1, f"preparing {title}", "head") as progress:
                    trainer.imagine(0, progress, metrics)
                    progress.advance(1)
                for task in tasks:
                    options.say(f"{task.name} has nothing to train: its {task.head} acts as it is.")
                    options.say(f"`manyheads evaluate {folder.path} {task.name}` plays it.")
            if steps and not trainer.stopped:
                with options.progress(steps, f"collecting for {title}", start=trainer.steps) as progress:
                    trainer.collect_and_learn(steps, progress, metrics, options.monitoring)
        with uncompiled(trainer.world):
            for task in tasks if predict else ():
                predicted = fit_predictor(trainer, task).predict(
                    trainer.heads[task.name], starts(trainer, task), task.episode_steps
                )
                found[task.name]["predicted"] = asdict(predicted)
    return found


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
