"""A world as it travels to other nodes: what it is made of, without weights, replay or a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyheads import Head, Task, TaskFile
from manyheads.storage.world_folder import WorldFolder
from manyheads.training import World, add_readouts, build_head

if TYPE_CHECKING:
    from manyheads.environment.layout import SpaceLayout

NOWHERE = Path("no-folder-on-this-node")


@dataclass(frozen=True)
class Blueprint:
    """Settings, interface, instances and tasks; the plugins that they name must be installed where it is used."""

    settings: Any
    machine: dict[str, Any]
    """the machine's settings that hold for this run"""
    interface: SpaceLayout
    instances: tuple[Any, ...]
    earlier: tuple[Any, ...]
    history: tuple[Any, ...]
    tasks: tuple[tuple[str, TaskFile], ...]

    @classmethod
    def of(cls, folder: WorldFolder, tasks: Sequence[Task]) -> Blueprint:
        """That of a world and the tasks it is trained on."""
        named = {task.name: task.content for task in tasks}
        return cls(
            folder.saved_settings,
            folder.machine,
            folder.interface,
            folder.instances,
            folder.earlier,
            folder.history,
            tuple(named.items()),
        )

    def folder(self, path: Path = NOWHERE) -> WorldFolder:
        """The world's folder at a path, whose checkpoint is read if it has one."""
        made_of = self.interface, self.instances, self.earlier, self.history, self.machine
        return WorldFolder(path, self.settings, *made_of)

    def open_tasks(self) -> dict[str, Task]:
        """The tasks by name; raises ManyheadsError where a plugin that they need is missing here."""
        return {name: content.resolve(name) for name, content in self.tasks}

    def build(self) -> tuple[World, dict[str, Head], dict[str, Task]]:
        """A world on the CPU, its heads and tasks; the weights have no meaning yet."""
        folder, tasks = self.folder(), self.open_tasks()
        world = World(self.interface, folder.settings.world)
        add_readouts(world, [task.instance for task in tasks.values()], folder.settings.seed)
        heads = {name: build_head(task, world, folder) for name, task in tasks.items()}
        for module in (world, *world.readouts.values(), *heads.values()):
            module.requires_grad_(False)
        return world, heads, tasks
