"""Heads for tasks on a frozen world: what is asked for is checked, and rows are explored where that is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from manyheads.api.opening import open_with
from manyheads.api.run import AnyTask, RunOptions, resolve_task
from manyheads.api.training_heads import AUTO, Found, train_heads
from manyheads.errors import ManyheadsError, unknown
from manyheads.learning.imagined_play import STEPS, ImaginedPlay, imagined_plays
from manyheads.learning.run_records import group_by_progress
from manyheads.learning.trainer import Trainer
from manyheads.learning.transfer import FRESH, uncompiled
from manyheads.registry import registry
from manyheads.report.open_loggers import Opener
from manyheads.runners import LOCAL
from manyheads.settings import MACHINE
from manyheads.storage.growth import grow, growth
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import RewardSettings, Task, TaskFile

EXPLORE = "explore/disagreement"
"""the reward that is collected with where the world model is least sure"""


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
    runner: str = LOCAL,
    runner_options: Mapping[str, Any] | None = None,
) -> Found:
    """Makes `updates` updates of each task's head in imagination, then continues until `steps` rows are collected.

    `head` is another kind of head than the tasks name; a task is then called NAME.KIND. A new head begins as `start`:
    fresh, as the head of that name, or (auto) as the one that earns most in imagination. `explore` rows are collected
    first with a head that is paid for the unknown. `predict`: what each head will earn. Of the settings, those of the
    machine may be set. `runner` is where heads train in imagination; rows are collected in this process. Returns what
    was found of each task, under its name.
    """
    if others := [each for each in overrides if each.partition("=")[0] not in MACHINE]:
        raise ManyheadsError(
            f"--set {others[0]}: a frozen world keeps its settings. Those of the machine can be set "
            f"({', '.join(MACHINE)}), and options of --log."
        )
    openers = options.openers()
    elsewhere = registry().runners[runner].heads_trainer(runner_options, options.monitoring)
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
    groups = group_by_progress(folder, chosen)
    found = train_heads(folder, groups, updates, steps, start, predict, options, openers, elsewhere)
    return {task.name: found[task.name] for task in chosen}


def imagine(
    path: Path,
    tasks: Sequence[AnyTask],
    updates: int,
    options: RunOptions,
    steps: int = STEPS,
    runner: str = LOCAL,
    runner_options: Mapping[str, Any] | None = None,
) -> dict[str, ImaginedPlay]:
    """Trains heads of one environment as one batch on the frozen world, and plays each in imagination.

    No environment is stepped. The heads stay in the world's folder, and the same call continues with them; raises
    ManyheadsError for tasks of different environments.
    """
    chosen = [_resolve(WorldFolder.open(path), task).built() for task in tasks]
    if len({task.instance.dynamics_key for task in chosen}) > 1:
        raise ManyheadsError("Heads that are compared in imagination are of one environment.")
    finetune(path, chosen, updates, 0, options, runner=runner, runner_options=runner_options)
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
