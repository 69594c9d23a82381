"""Growing a world by environments that it was not made for, at once or not at all."""

from __future__ import annotations

from collections.abc import Sequence

from manyheads.environment.adapter import FlatEnv
from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.experience.replay_folder import lock_folder
from manyheads.storage.agent import build_head, load_module
from manyheads.storage.world_folder import InstanceRecord, WorldFolder
from manyheads.task import Task
from manyheads.world.model import World


def records(tasks: Sequence[Task]) -> list[InstanceRecord]:
    """The instances of the tasks with their layouts, each once; raises ManyheadsError where their images differ in
    size."""
    found: dict[str, InstanceRecord] = {}
    for task in tasks:
        if task.instance.key not in found:
            adapted = FlatEnv(task.make_simulator(), task.instance.signals)
            found[task.instance.key] = InstanceRecord(
                environment=task.environment, options=dict(task.options), layout=adapted.layout
            )
            adapted.close()
    check_images([*found.values()])
    return list(found.values())


def check_images(found: Sequence[InstanceRecord]) -> None:
    """Raises ManyheadsError where the images of two instances differ in size."""
    pictured = [record for record in found if record.layout.image]
    for record in pictured:
        first, own = pictured[0].layout.image, record.layout.image
        if first and own and first[:2] != own[:2]:
            raise ManyheadsError(
                f"{_named(record)} has images of {own[0]} x {own[1]} pixels, {_named(pictured[0])} of "
                f"{first[0]} x {first[1]}: all images of one world have one size. Give both the same size in their "
                "tasks' options (`image_size`, where the environment has it), or train another world."
            )


def grow(folder: WorldFolder, tasks: Sequence[Task]) -> WorldFolder:
    """The world with the tasks' instances; the same one where it has them all.

    All that was trained is loaded once into the larger world before anything is written; raises ManyheadsError, with
    nothing changed, where something does not fit.
    """
    if all(folder.find(task.instance) for task in tasks):
        return folder
    with lock_folder(folder.path / "replay"):
        current = WorldFolder.open(folder.path)
        added = records([task for task in tasks if current.find(task.instance) is None])
        check_images([*current.instances, *added])
        grown = current.grown(added)
        require_loadable(grown)
        grown.write()
    return grown


def growth(before: WorldFolder, after: WorldFolder) -> str:
    """What a world has gained, in words; empty where nothing."""
    new = after.instances[len(before.instances) :]
    if not new:
        return ""
    old, now = before.interface, after.interface
    gains = [
        _counted(len(now.vector) - len(old.vector), "observed number"),
        _counted(_channels(now) - _channels(old), "image channel"),
        _counted(len(now.continuous) - len(old.continuous), "continuous action"),
        _counted(len(now.discrete) - len(old.discrete), "discrete action"),
    ]
    entries = ", ".join(filter(None, gains)) or "no new entries"
    return f"{after.path} now includes {', '.join(map(_named, new))}: {entries}. What it has learned stays as it is."


def require_loadable(grown: WorldFolder) -> None:
    """Builds the world and all its heads as they will be read from now on; raises ManyheadsError where one does not
    fit."""
    world = World(grown.interface, grown.settings.world)
    if "world" in grown.checkpoint.names:
        load_module(world, grown, "world")
    for name in grown.heads:
        task = grown.task(name)
        load_module(build_head(task, world, grown), grown, f"heads/{task.slug}/weights")


def _named(record: InstanceRecord) -> str:
    options = ", ".join(f"{name}={value}" for name, value in record.options.items() if value is not None)
    return f"{record.environment} ({options})" if options else record.environment


def _channels(layout: SpaceLayout) -> int:
    return layout.image[2] if layout.image else 0


def _counted(number: int, noun: str) -> str:
    return "" if not number else f"{number} more {noun}{'s' if number > 1 else ''}"
