"""The world folder: settings, interface, weights, replay, heads and metrics, laid out for a person to read.

world/
  world.yaml                settings, interface, the instances it is made for
  checkpoint.json           the manifest: which files below are current, counters, positions
  world.000012.safetensors  weights of the world model
  train/                    learner.000012.safetensors (optimisers, random generators), policies.000012.safetensors
  finetune/dmc__walker-walk/  the same for a head that was trained on the frozen world
  heads/dmc__walker-walk/   task.yaml, weights.000012.safetensors, goal.jsonl: what the goal's writer decided
  replay/                   measured rows and the side table of latents
  metrics.jsonl, tensorboard/, evaluations.json, ledger.json, videos/, why/, report.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from manyheads import atomic, yamlfile
from manyheads.atomic import check_format
from manyheads.environment.contract import Instance
from manyheads.environment.layout import SpaceLayout
from manyheads.environment.notice import warn_once
from manyheads.errors import ManyheadsError, unknown
from manyheads.filenames import file_name
from manyheads.registry import registry
from manyheads.settings import Settings, changed_settings, check_settings, flat_settings
from manyheads.storage.checkpoint import MANIFEST, Checkpoint
from manyheads.storage.upgrade import upgrade_world
from manyheads.task import Task, TaskFile, load_task

if TYPE_CHECKING:
    from manyheads.experience.replay import Replay

WORLD = "world.yaml"
FORMAT = 3


class InstanceRecord(BaseModel):
    """An instance as a world remembers it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    environment: str
    options: dict[str, Any]
    layout: SpaceLayout

    def instance(self) -> Instance:
        """The instance; raises ManyheadsError where its plugin is not installed."""
        return registry().environments[self.environment].instance(self.options)


class EarlierInterface(BaseModel):
    """What a world's interface was before it grew."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    until: int
    """newest generation of the checkpoint that was saved under it"""
    interface: SpaceLayout


class SettingsChange(BaseModel):
    """Settings that were changed when training continued."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int
    """rows that the world had collected then"""
    changes: dict[str, tuple[Any, Any]]
    """before and after, by dotted name"""


class WorldFile(BaseModel):
    """`world.yaml`; its settings are checked by their own model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    settings: dict[str, Any]
    interface: SpaceLayout
    instances: list[InstanceRecord]
    earlier_interfaces: list[EarlierInterface] = []
    history: list[SettingsChange] = []


class WorldFolder:
    """A world on disk. Use `create` or `open`.

    Growing writes `world.yaml` alone, at once: weights stay in their files until they are saved again, and are read by
    the names of the entries that the interface had when they were saved.
    """

    def __init__(
        self,
        path: Path,
        settings: Settings,
        interface: SpaceLayout,
        instances: Sequence[InstanceRecord],
        earlier: Sequence[EarlierInterface] = (),
        history: Sequence[SettingsChange] = (),
        machine: Mapping[str, Any] | None = None,
    ) -> None:
        """`machine` has values of the machine's settings, by dotted name, that hold in place of the saved ones and are
        not written."""
        self.path = path
        self.saved_settings = settings
        self.machine = dict(machine or {})
        self.settings = changed_settings(settings, self.machine) if self.machine else settings
        self.history = tuple(history)
        self.interface = interface
        self.instances = tuple(instances)
        self.earlier = tuple(earlier)
        self.checkpoint = Checkpoint(path)

    @classmethod
    def create(cls, path: Path, settings: Settings, instances: Sequence[InstanceRecord]) -> WorldFolder:
        """Makes the folder; the interface is the union of the instances' entries."""
        if (path / WORLD).exists():
            raise ManyheadsError(f"{path} already holds a world.")
        folder = cls(path, settings, _union(SpaceLayout(), instances, settings), instances)
        folder.write()
        return folder

    @classmethod
    def open(cls, path: str | Path, machine: Mapping[str, Any] | None = None) -> WorldFolder:
        """Reads the folder; raises ManyheadsError where there is no world, or one by a newer version.

        `machine` has values of the machine's settings for this time, by dotted name.
        """
        path = Path(path)
        if not (path / WORLD).exists():
            raise ManyheadsError(
                f"{path} holds no world ({WORLD} is missing). `manyheads train {path} TASK` makes one."
            )
        values = yamlfile.read(path / WORLD).data
        check_format(path / WORLD, values, FORMAT)
        try:
            values = upgrade_world(values)
        except (KeyError, TypeError, AttributeError) as error:
            raise ManyheadsError(
                f"{path / WORLD} is damaged or was edited: {error!r}. Restore it from a copy."
            ) from None
        file = atomic.check(path / WORLD, values, WorldFile)
        settings = check_settings(file.settings, where=str(path / WORLD))
        _check_options(file.instances, path / WORLD)
        folder = cls(path, settings, file.interface, file.instances, file.earlier_interfaces, file.history, machine)
        folder._forget_deleted_heads()
        return folder

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the tasks that have a head here, in order of their making."""
        return tuple(self.checkpoint.state.get("heads", {}))

    def is_stale(self, name: str) -> bool:
        """Whether a head belongs to an earlier state of the world model, which was trained on without it."""
        state = self.checkpoint.state
        return bool(state["heads"][name]["world_updates"] != state.get("updates", 0))

    def task(self, name: str) -> Task:
        """The task of a head, as saved next to it."""
        return load_task(self._task_file(name), name=name)

    def goal(self, name: str) -> str:
        """The goal of a head's task, also where a plugin that the task needs is missing."""
        return yamlfile.read(self._task_file(name)).check(TaskFile).goal

    def save_task(self, task: Task) -> None:
        """Puts a copy of the task next to its head; a different task under the same name is refused."""
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
            atomic.write_text(path.with_name("goal.jsonl"), atomic.read_text(journal))

    def head_folder(self, task: Task) -> Path:
        """Where a task's head lives."""
        return self.path / "heads" / task.slug

    def find(self, instance: Instance) -> InstanceRecord | None:
        """The world's own record of an instance; None where the world does not have it."""
        for record in self.instances:
            if (
                record.environment == instance.environment.name
                and record.instance().dynamics_key == instance.dynamics_key
            ):
                return record
        return None

    def record_of(self, instance: Instance) -> InstanceRecord:
        """The world's own record of an instance; raises ManyheadsError where the world does not have it."""
        if found := self.find(instance):
            return found
        known = ", ".join(dict.fromkeys(record.instance().dynamics_key for record in self.instances))
        raise ManyheadsError(
            f"The world {self.path} does not know {instance.dynamics_key}; it knows: {known}. "
            f"`manyheads train {self.path} TASK` with a task there adds it."
        )

    def grown(self, records: Sequence[InstanceRecord]) -> WorldFolder:
        """This world with more instances, its interface grown by what they need; nothing is written before `write`."""
        interface = _union(self.interface, records, self.settings)
        earlier, generation = self.earlier, self.checkpoint.generation
        if interface != self.interface and generation > (earlier[-1].until if earlier else 0):
            earlier = (*earlier, EarlierInterface(until=generation, interface=self.interface))
        instances = (*self.instances, *records)
        return WorldFolder(self.path, self.saved_settings, interface, instances, earlier, self.history, self.machine)

    def with_settings(self, values: Mapping[str, Any]) -> WorldFolder:
        """This world with other settings, by dotted name, and a note of it in its history; nothing is written before
        `write`."""
        before = flat_settings(self.saved_settings)
        changes = {name: (before.get(name), value) for name, value in values.items()}
        change = SettingsChange(steps=self.checkpoint.state.get("steps", 0), changes=changes)
        return WorldFolder(
            self.path,
            changed_settings(self.saved_settings, values),
            self.interface,
            self.instances,
            self.earlier,
            (*self.history, change),
            self.machine,
        )

    def interface_of(self, name: str) -> SpaceLayout:
        """The interface under which a set of tensors of the checkpoint was saved."""
        generation = self.checkpoint.generation_of(name)
        return next((each.interface for each in self.earlier if generation <= each.until), self.interface)

    def replay(self, read_only: bool = False) -> Replay:
        """The replay, opened where it lies; one process at a time may write to it.

        What was repaired and which rows are missing that a checkpoint counted is said through logging.
        """
        from manyheads.experience.latent_table import LatentLayout
        from manyheads.experience.replay import Replay

        training, world = self.settings.training, self.settings.world
        replay = Replay(
            self.path / "replay",
            self.interface,
            LatentLayout(world.deter, world.groups, world.classes),
            capacity_rows=training.capacity_rows,
            capacity_bytes=training.capacity_bytes,
            seed=self.settings.seed,
            read_only=read_only,
        )
        saved = [run["replay"] for run in self.checkpoint.state.get("runs", {}).values()]
        for note in [*([] if read_only else replay.repairs), *replay.missing(saved)]:
            warn_once(note)
        return replay

    def _forget_deleted_heads(self) -> None:
        """Heads whose folders a person deleted are gone, and so is what was kept to resume them."""
        state = self.checkpoint.state
        for name, record in list(state.get("heads", {}).items()):
            slug, run = file_name(name), record["run"]
            if not (self.path / "heads" / slug).exists():
                del state["heads"][name]
                own = run == f"finetune/{slug}"
                self.checkpoint.forget(f"heads/{slug}/", f"best/{slug}/", *([f"{run}/"] if own else []))
                state.get("best", {}).pop(name, None)
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

    def write(self) -> None:
        """Writes settings, interface and instances at once."""
        yamlfile.write(self.path / WORLD, self.record())

    def record(self) -> dict[str, Any]:
        """What `world.yaml` says."""
        return {
            "format": FORMAT,
            "settings": self.saved_settings.model_dump(mode="json"),
            "interface": self.interface.model_dump(mode="json"),
            "earlier_interfaces": [each.model_dump(mode="json") for each in self.earlier],
            "instances": [record.model_dump(mode="json") for record in self.instances],
            "history": [change.model_dump(mode="json") for change in self.history],
        }


def _check_options(records: Sequence[InstanceRecord], file: Path) -> None:
    """Raises ManyheadsError that names the file where the options of an installed environment are not right."""
    for record in records:
        if record.environment in registry().environments:
            try:
                record.instance()
            except ManyheadsError as error:
                raise ManyheadsError(f"{file}: {error}") from None


def _union(interface: SpaceLayout, records: Sequence[InstanceRecord], settings: Settings) -> SpaceLayout:
    """The interface grown by what the instances need."""
    shared = settings.world.vector_entries == "shared"
    for record in records:
        interface = interface.union(record.layout.shared() if shared else record.layout)
    return interface


def is_empty(path: Path) -> bool:
    """Whether a world's folder holds neither rows nor weights: a run was begun there and did nothing yet."""
    return not any(next(path.rglob(kind), None) for kind in (MANIFEST, "*.safetensors", "*.rows"))


def clear_empty(path: Path) -> None:
    """Deletes what such a run left, so that a world can be made there."""
    if (path / WORLD).exists() and is_empty(path):
        for task in path.glob("heads/*/task.yaml"):
            task.unlink()
        (path / WORLD).unlink()
