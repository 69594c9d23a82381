"""Training a world and the heads of its tasks jointly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from manyheads.api.opening import last_tasks, made_stale, open_or_create
from manyheads.api.run import RunOptions
from manyheads.registry import registry
from manyheads.storage.world_folder import WORLD, WorldFolder
from manyheads.task import Task


def train(
    path: Path,
    tasks: Sequence[Task],
    steps: int,
    options: RunOptions,
    *,
    source: str | Path | None = None,
    overrides: Sequence[str] = (),
    runner: str = "local",
    runner_options: Mapping[str, Any] | None = None,
) -> WorldFolder:
    """Trains until the world has collected `steps` rows in all; without tasks, on those that it had last.

    Names and options are checked before anything is written.
    """
    kind = registry().runners[runner]
    runner_settings, openers = kind.read_settings(runner_options), options.openers()
    folder, chosen = open_or_create(path, tasks, source, overrides, options.say)
    for task in chosen:
        folder.save_task(task)
    begun = int(folder.checkpoint.state.get("steps", 0))
    if begun >= steps:
        options.say(f"{path} has collected {begun:,} steps already; --steps says how many in all.")
    total = max(steps, begun)
    with options.metrics(folder, chosen, openers) as metrics, options.progress(total, "training", start=begun) as shown:
        kind.start(folder, chosen, steps, shown, metrics, runner_settings, options.monitoring)
    return folder


def learn(
    path: Path, tasks: Sequence[Task], updates: int, options: RunOptions, overrides: Sequence[str] = ()
) -> WorldFolder:
    """Trains on what the world has recorded until `updates` have been made in all, with no environment."""
    from manyheads.learning.trainer import Trainer

    openers = options.openers()
    folder, chosen = open_or_create(path, tasks, None, overrides, options.say)
    for task in chosen:
        folder.save_task(task)
    with closing(Trainer(folder, chosen)) as trainer:
        shown = options.progress(updates, "learning", "updates", trainer.updates)
        with options.metrics(folder, chosen, openers) as metrics, shown as progress:
            trainer.learn(updates, progress, metrics)
    return folder


def tasks_of_run(path: Path, tasks: Sequence[Task], add: bool) -> list[Task]:
    """What a run trains: the tasks; with `add`, those that the world was trained on last and these; without any, those
    that it had last. None for a new world without tasks."""
    if not (path / WORLD).exists() or (tasks and not add):
        return list(tasks)
    folder = WorldFolder.open(path)
    if tasks and "train" not in folder.checkpoint.state.get("runs", {}):
        return list(tasks)
    before = last_tasks(folder)
    known = {task.name for task in before}
    return [*before, *(task for task in tasks if task.name not in known)]


def stale_after(path: Path, tasks: Sequence[Task], steps: int) -> list[str]:
    """Names of the heads that a run on these tasks leaves behind; none where it has nothing left to train."""
    if not (path / WORLD).exists():
        return []
    folder = WorldFolder.open(path)
    if int(folder.checkpoint.state.get("steps", 0)) >= steps:
        return []
    return made_stale(folder, tasks)


def stale_words(names: Sequence[str]) -> str:
    """What becomes of the heads that a run leaves behind, as a sentence."""
    one = len(names) == 1
    return (
        f"The head{'' if one else 's'} of {', '.join(names)} {'is' if one else 'are'} not trained along: the world "
        f"model changes without {'it' if one else 'them'}, and {'it has' if one else 'they have'} to be fine-tuned "
        "again afterwards."
    )
