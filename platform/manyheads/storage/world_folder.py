"""The world folder: settings, interface, weights, replay, heads and metrics, laid out for a person to read.

world/
  world.yaml                settings, interface, the instances it is made for
  checkpoint.json           the manifest: which files below are in force, counters, positions
  world.000012.safetensors  weights of the world model
  train/                    learner.000012.safetensors (optimisers, random generators), policies.000012.safetensors
  finetune/dmc__walker-walk/  the same for a head that was trained on the frozen world
  heads/dmc__walker-walk/   task.yaml, weights.000012.safetensors, goal.jsonl: what the goal's writer decided
  replay/                   measured rows and the side table of latents
  metrics.jsonl, tensorboard/, evaluations.json, videos/, report.html
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from manyheads import atomic, yamlfile
from manyheads.atomic import check_format
from manyheads.environment.contract import Instance
from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError, unknown
from manyheads.filenames import file_name
from manyheads.registry import registry
from manyheads.settings import Settings, check_settings
from manyheads.storage.checkpoint import FORMAT, Checkpoint
from manyheads.storage.upgrade import upgrade_world
from manyheads.task import Task, TaskFile, load_task

if TYPE_CHECKING:
    from manyheads.experience.replay import Replay

WORLD = "world.yaml"


class InstanceRecord(BaseModel):
    """An instance as a world remembers it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    environment: str
    options: dict[str, Any]
    layout: SpaceLayout

    def instance(self) -> Instance:
        """The instance; raises ManyheadsError where its plugin is not installed."""
        return registry().environments[self.environment].instance(self.options)


class WorldFolder:
    """A world on disk. Use `create` or `open`."""

    def __init__(
        self, path: Path, settings: Settings, interface: SpaceLayout, instances: Sequence[InstanceRecord]
    ) -> None:
        self.path = path
        self.settings = settings
        self.interface = interface
        self.instances = tuple(instances)
        self.checkpoint = Checkpoint(path)

    @classmethod
    def create(cls, path: Path, settings: Settings, instances: Sequence[InstanceRecord]) -> WorldFolder:
        """Makes the folder; the interface is the union of the instances' places."""
        if (path / WORLD).exists():
            raise ManyheadsError(f"{path} already holds a world.")
        interface = SpaceLayout()
        for record in instances:
            interface = interface.union(record.layout)
        folder = cls(path, settings, interface, instances)
        folder._write()
        return folder

    @classmethod
    def open(cls, path: str | Path) -> WorldFolder:
        """Reads the folder; raises ManyheadsError where there is no world, or one by a newer version."""
        path = Path(path)
        if not (path / WORLD).exists():
            raise ManyheadsError(
                f"{path} holds no world ({WORLD} is missing). `manyheads train {path} TASK` makes one."
            )
        values = yamlfile.read(path / WORLD).data
        check_format(path / WORLD, values, FORMAT)
        try:
            values = upgrade_world(values)
            settings = check_settings(values["settings"], where=str(path / WORLD))
            instances = [InstanceRecord.model_validate(record) for record in values["instances"]]
            interface = SpaceLayout.model_validate(values["interface"])
        except (ValidationError, KeyError, TypeError) as error:
            raise ManyheadsError(f"{path / WORLD} is damaged or was edited: {error}") from None
        folder = cls(path, settings, interface, instances)
        folder._forget_deleted_heads()
        return folder

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the tasks that have a head here, in order of their making."""
        return tuple(self.checkpoint.state.get("heads", {}))

    def task(self, name: str) -> Task:
        """The task of a head, as saved beside it."""
        return load_task(self._task_file(name), name=name)

    def goal(self, name: str) -> str:
        """The goal of a head's task, also where a plugin that the task needs is missing."""
        return yamlfile.read(self._task_file(name)).check(TaskFile).goal

    def save_task(self, task: Task) -> None:
        """Puts a copy of the task beside its head; a different task under the same name is refused."""
        path = self.head_folder(task) / "task.yaml"
        if path.exists():
            if load_task(path, name=task.name).content != task.content:
                raise ManyheadsError(
                    f"{self.path} already has a head for another task named {task.name!r} ({path}). "
                    "Rename the new task's file, or delete that head's folder to start it afresh."
                )
            return
        task.write(path)
        journal = task.file.with_suffix(".jsonl") if task.file is not None else None
        if journal is not None and journal.exists():
            atomic.write_text(path.with_name("goal.jsonl"), journal.read_text(encoding="utf-8"))

    def head_folder(self, task: Task) -> Path:
        """Where a task's head lives."""
        return self.path / "heads" / task.slug

    def record_of(self, instance: Instance) -> InstanceRecord:
        """The world's own record of an instance; raises ManyheadsError where the world was not made for it."""
        for record in self.instances:
            if (
                record.environment == instance.environment.name
                and record.instance().dynamics_key == instance.dynamics_key
            ):
                return record
        known = ", ".join(dict.fromkeys(record.instance().dynamics_key for record in self.instances))
        raise ManyheadsError(
            f"The world {self.path} was not made for {instance.dynamics_key}; it knows: {known}. "
            "Choose a task there, or train another world: `manyheads train NEW TASK`."
        )

    def replay(self, read_only: bool = False) -> Replay:
        """The replay, opened where it lies; one process at a time may write to it."""
        from manyheads.experience.latent_table import LatentLayout
        from manyheads.experience.replay import Replay

        training, world = self.settings.training, self.settings.world
        return Replay(
            self.path / "replay",
            self.interface,
            LatentLayout(world.deter, world.groups, world.classes),
            capacity_rows=training.capacity_rows,
            capacity_bytes=training.capacity_bytes,
            seed=self.settings.seed,
            read_only=read_only,
        )

    def _forget_deleted_heads(self) -> None:
        """Heads whose folders a person deleted are gone, and so is what was kept to go on with them."""
        state = self.checkpoint.state
        for name, record in list(state.get("heads", {}).items()):
            slug, run = file_name(name), record["run"]
            if not (self.path / "heads" / slug).exists():
                del state["heads"][name]
                own = run == f"finetune/{slug}"
                self.checkpoint.forget(f"heads/{slug}/", *([f"{run}/"] if own else []))
                if own:
                    del state["runs"][run]

    def _task_file(self, name: str) -> Path:
        path = self.path / "heads" / file_name(name) / "task.yaml"
        if name not in self.heads:
            raise unknown(f"head in {self.path}", name, self.heads)
        if not path.exists():
            raise ManyheadsError(
                f"{path} is missing. Restore it from a copy, or delete {path.parent} to start that head afresh."
            )
        return path

    def _write(self) -> None:
        yamlfile.write(
            self.path / WORLD,
            {
                "format": FORMAT,
                "settings": self.settings.model_dump(mode="json"),
                "interface": self.interface.model_dump(mode="json"),
                "instances": [record.model_dump(mode="json") for record in self.instances],
            },
        )
