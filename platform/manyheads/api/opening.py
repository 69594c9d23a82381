"""A world for a run: made where there is none, else as it is, with what the run changes of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from manyheads.errors import ManyheadsError
from manyheads.learning.device import check_device
from manyheads.report.text import plain
from manyheads.settings import FIXED, Settings, differences, flat_settings, load_settings, machine_settings
from manyheads.storage.growth import grow, growth, records, require_loadable
from manyheads.storage.world_folder import WORLD, InstanceRecord, WorldFolder, clear_empty, is_empty
from manyheads.task import Task

Say = Callable[[str], None]
"""takes a sentence for a person"""


def say_on_stderr(text: str) -> None:
    """For those who have no better place."""
    print(plain(text), file=sys.stderr)


def open_or_create(
    world: Path,
    tasks: Sequence[Task],
    source: str | Path | None,
    overrides: Sequence[str],
    say: Say = say_on_stderr,
    may_change: bool = True,
) -> tuple[WorldFolder, list[Task]]:
    """The world folder, made for the tasks if it is new, and its tasks; without tasks those that it had last.

    `source` and `overrides` are settings as `load_settings` takes them. Those of the machine hold for this time. With
    `may_change` an existing world takes other settings of learning, too, and notes it in its history; what it was made
    with stays. `say` is told of all that changes.
    """
    if not (world / WORLD).exists() or (tasks and is_empty(world)):
        if not tasks:
            raise ManyheadsError(f"{world} is new: name at least one task. `manyheads list tasks` shows what there is.")
        settings = load_settings(source, overrides)
        check_device(settings.training.device)
        found = records(tasks)
        clear_empty(world)
        return WorldFolder.create(world, weighed(settings, found, say), found), list(tasks)
    folder = open_with(world, source, overrides, say, may_change)
    chosen = list(tasks) or last_tasks(folder)
    grown = grow(folder, chosen)
    if gained := growth(folder, grown):
        say(gained)
    return grown, chosen


def weighed(settings: Settings, found: Sequence[InstanceRecord], say: Say) -> Settings:
    """The settings of a new world with learned weights of its losses where some instances show pictures and others do
    not: a picture's thousands of errors would drown a vector's few. What a person has set stays."""
    mixed = len({bool(record.layout.image) for record in found}) > 1
    if not mixed or "loss_weights" in settings.world.model_fields_set:
        return settings
    say(
        "Some of these environments show pictures and others do not, so the world learns how much each of its losses "
        "counts (world.loss_weights=harmonised; `--set world.loss_weights=fixed` keeps them as they are)."
    )
    return settings.model_copy(update={"world": settings.world.model_copy(update={"loss_weights": "harmonised"})})


def open_with(
    world: Path, source: str | Path | None, overrides: Sequence[str], say: Say, may_change: bool
) -> WorldFolder:
    """An existing world with the machine's settings as asked for, and other settings of learning where it may."""
    machine = machine_settings(source, overrides)
    folder = WorldFolder.open(world, machine)
    if source is None and not overrides:
        return folder
    own, others = differences(folder.saved_settings, source, overrides)
    changed = [name for name in own if name not in machine]
    if refused := [name for name in changed if not may_change or name.startswith(FIXED)]:
        raise ManyheadsError(
            f"{world} was made with other settings: {', '.join(refused)}. They are in {world / WORLD}. "
            "Leave out what differs to continue with them, or start another world."
        )
    if changed:
        asked, before = flat_settings(load_settings(source, overrides)), flat_settings(folder.saved_settings)
        folder = folder.with_settings({name: asked[name] for name in changed})
        require_loadable(folder)
        folder.write()
        words = ", ".join(f"{name} {before.get(name, 'as by default')} to {asked[name]}" for name in changed)
        say(f"{world} continues with other settings, noted in its history: {words}.")
    if source is not None and (differing := [name for name in others if name not in machine]):
        say(f"{world} continues with its own settings; {source} differs in {', '.join(differing)}.")
    return folder


def last_tasks(folder: WorldFolder) -> list[Task]:
    """The tasks that the world was trained on last; raises ManyheadsError where there are none to continue with."""
    last = folder.checkpoint.state.get("runs", {}).get("train", {}).get("tasks", [])
    if gone := sorted({*last} - {*folder.heads}):
        raise ManyheadsError(
            f"The heads of {', '.join(gone)} were deleted from {folder.path}: name the tasks to train it on from here."
        )
    if not last:
        raise ManyheadsError(f"Name at least one task to train {folder.path} on; `manyheads list tasks` shows them.")
    return [folder.task(name) for name in last]


def made_stale(folder: WorldFolder, tasks: Sequence[Task]) -> list[str]:
    """Names of heads that fit the world as it is and will not, once it has been trained on these tasks alone."""
    training = {task.name for task in tasks}
    return [name for name in folder.heads if name not in training and not folder.is_stale(name)]
