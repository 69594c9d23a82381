"""Training the head of one task on a frozen world."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from manyheads.api.opening import open_with
from manyheads.api.run import AnyTask, RunOptions, resolve_task
from manyheads.errors import ManyheadsError
from manyheads.learning.trainer import Trainer
from manyheads.settings import MACHINE
from manyheads.storage.growth import grow, growth
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import Task


def finetune(
    path: Path,
    task: AnyTask,
    updates: int,
    steps: int,
    options: RunOptions,
    *,
    head: str | None = None,
    overrides: Sequence[str] = (),
) -> Task:
    """Makes `updates` updates of the task's head in imagination, then goes on until it has collected `steps` rows.

    `head` is another kind of head than the task names; the task is then called NAME.KIND. Of the settings, those of the
    machine may be set. Returns the task of the head.
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
    known = isinstance(task, str) and task in folder.heads
    chosen = (folder.task(str(task)) if known else resolve_task(folder, task)).with_head(head).built()
    folder = _grown(folder, chosen, options)
    trainer = Trainer(folder, [chosen], frozen=True)
    try:
        if trainer.learns and not updates and not steps:
            raise ManyheadsError("0 updates and 0 steps: there is nothing to do. Ask for some of either.")
        folder.save_task(chosen)
        with options.metrics(folder, [chosen], openers) as metrics:
            if trainer.learns and trainer.updates >= updates and trainer.steps >= steps:
                made, own = f"{trainer.updates:,} updates", f"{trainer.steps:,} steps"
                options.say(f"The head of {chosen.name} has made {made} and {own}; --updates and --steps count in all.")
            elif trainer.learns:
                total = max(updates, trainer.updates)
                with options.progress(total, f"imagining {chosen.name}", "updates", trainer.updates) as progress:
                    trainer.imagine(updates, progress, metrics, options.monitoring)
            else:
                with options.progress(1, f"preparing {chosen.name}", "head") as progress:
                    trainer.imagine(0, progress, metrics)
                    progress.advance(1)
                options.say(f"{chosen.name} has nothing to train: its {chosen.head} acts as it is.")
                options.say(f"`manyheads evaluate {path} {chosen.name}` plays it.")
            if steps and not trainer.stopped:
                with options.progress(steps, f"collecting for {chosen.name}", start=trainer.steps) as progress:
                    trainer.collect_and_learn(steps, progress, metrics, options.monitoring)
    finally:
        trainer.close()
    return chosen


def _grown(folder: WorldFolder, task: Task, options: RunOptions) -> WorldFolder:
    """The world with the task's environment, which a frozen model has never seen."""
    grown = grow(folder, [task])
    if gained := growth(folder, grown):
        options.say(
            f"{gained} The frozen world model knows nothing of them: `manyheads train {folder.path} --add {task.name}` "
            "trains it, too."
        )
    return grown
