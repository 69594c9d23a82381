"""A trained world in a few lines: `agent = manyheads.load("world/").head("task")`, then `agent.act(observation)`."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from manyheads import atomic
from manyheads.environment.adapter import FlatEnv, LayoutMap, RowFormat
from manyheads.environment.layout import Mask
from manyheads.errors import ManyheadsError, unknown
from manyheads.heads.contract import Head
from manyheads.heads.kind import HeadContext, HeadTask
from manyheads.heads.policy import VectorPolicy
from manyheads.registry import registry
from manyheads.settings import head_settings
from manyheads.storage.packs import SPACES
from manyheads.storage.readouts import load_readouts
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import Task
from manyheads.world.grow import Growth
from manyheads.world.model import World


class LoadedWorld:
    """A world as it was saved: `model`, `folder`, and agents by `head(name)`."""

    def __init__(self, folder: WorldFolder) -> None:
        if "world" not in folder.checkpoint.names:
            raise ManyheadsError(f"{folder.path} has not been trained yet. `manyheads train {folder.path} TASK` does.")
        self.folder = folder
        with torch.random.fork_rng(devices=[]):  # a network that was just gained is the one that training begins with
            torch.manual_seed(folder.settings.seed)
            self.model = World(folder.interface, folder.settings.world)
        load_module(self.model, folder, "world")
        self.model.requires_grad_(False)
        load_readouts(self.model, folder)

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the tasks that have a head."""
        return self.folder.heads

    def head(self, name: str, seed: int = 0) -> Agent:
        """The agent of a task; raises ManyheadsError with the near names for an unknown one."""
        if name not in self.heads:
            raise unknown(f"head in {self.folder.path}", name, self.heads)
        task = self.folder.task(name)
        head = build_head(task, self.model, self.folder)
        load_module(head, self.folder, f"heads/{task.slug}/weights")
        head.requires_grad_(False)
        return Agent(self.model, head, task, seed, saved_row_format(self.folder, task))

    @cached_property
    def agent(self) -> Agent:
        """The agent of the only head; raises ManyheadsError where there are several, or none."""
        if len(self.heads) != 1:
            raise ManyheadsError(
                f"{self.folder.path} has {len(self.heads)} heads ({', '.join(self.heads) or 'none'}); choose one with "
                "`.head(NAME)`."
            )
        return self.head(self.heads[0])

    def act(self, observation: Any, info: dict[str, Any] | None = None) -> Any:
        """What the only head's agent does; see `Agent.act`."""
        return self.agent.act(observation, info)

    def reset(self) -> None:
        """Call at every episode's start, where `act` is called."""
        self.agent.reset()


class Agent:
    """A head that acts on native observations, one environment at a time. Samples its actions, as it was trained."""

    def __init__(
        self, world: World, head: Head, task: Task, seed: int = 0, row_format: RowFormat | None = None
    ) -> None:
        """Without `row_format` the spaces are those of the task's simulator, which is built for them."""
        self.world, self.head, self.task, self.seed = world, head, task, seed
        if row_format is not None:
            self._adapted = row_format
        self.reset()

    def reset(self) -> None:
        """Call at every episode's start."""
        self._policy = VectorPolicy(self.world, {self.task.name: self.head}, [self.task.name], self.seed)
        self.seed += 1
        self._first = True

    def act(self, observation: Any, info: dict[str, Any] | None = None) -> Any:
        """The native action for a native observation of the task's environment.

        `info`, which came with it, is needed where the task's reward remembers earlier rows: it has the signals.
        """
        image, vector = self._adapted.observe(observation)
        fitted = self._layout_map.map_image(image)
        acted = self._policy.act(
            None if fitted is None else fitted[None],
            self._layout_map.map_vector(vector)[None],
            np.array([self._first]),
            self._signals(info) if self.head.needs_signals else None,
        )
        self._first = False
        return self._adapted.act(self._layout_map.unmap_action(acted.action[0]))

    def _signals(self, info: dict[str, Any] | None) -> npt.NDArray[np.float64] | None:
        """(1, S) in the order of the task's signals."""
        measured = (info or {}).get("signals")
        if measured is None:
            return None
        return np.array([[measured[signal.name] for signal in self.task.instance.signals]], np.float64)

    @property
    def row_format(self) -> RowFormat:
        """How the environment's observations and actions become flat ones."""
        return self._adapted

    @cached_property
    def _adapted(self) -> RowFormat:
        return FlatEnv(self.task.make_environment(), self.task.instance.signals)

    @cached_property
    def _layout_map(self) -> LayoutMap:
        return LayoutMap(self.world.interface, self._adapted.layout)


def load(path: str | Path) -> LoadedWorld:
    """Opens a trained world: its folder, a pack, or the name of a world that comes with manyheads.

    Raises ManyheadsError where it is missing, damaged or newer.
    """
    from manyheads.storage.packaged_worlds import world_path
    from manyheads.storage.unpacking import open_pack

    path = world_path(path)
    return LoadedWorld(open_pack(path) if path.is_file() else WorldFolder.open(path))


def saved_row_format(folder: WorldFolder, task: Task) -> RowFormat | None:
    """The spaces that came with a head out of a pack; None where its simulator has to be asked."""
    path = folder.head_folder(task) / SPACES
    return RowFormat.of(atomic.read_json(path)) if path.exists() else None


def build_head(task: Task, world: World, folder: WorldFolder) -> Head:
    """A fresh head for a task on a world."""
    kind = registry().heads[task.head].load()
    context = HeadContext(
        interface=world.interface,
        mask=mask_of(folder, task),
        world=world.settings,
        task=HeadTask(task.name, task.reward, task.instance.signals, task.success, task.instance.dynamics_key),
        settings=head_settings(folder.settings, task.head),
    )
    return kind.build(context).to(world.device)


def mask_of(folder: WorldFolder, task: Task) -> Mask:
    """Which entries of the world's interface the task's instance has."""
    return folder.interface.mask(folder.record_of(task.instance).layout)


def load_module(module: torch.nn.Module, folder: WorldFolder, name: str) -> None:
    """Loads weights into a module, by the names of the interface's entries where the world has grown since they were
    saved; a file that doesn't fit is a ManyheadsError that names the tensor."""
    saved, layout = folder.interface_of(name), folder.interface
    tensors = Growth.of(module, saved, layout).weights(folder.checkpoint.read(name), module)
    expected = module.state_dict()
    reason = "Were the settings edited?"
    if saved != layout:
        reason = (
            "The world has grown since it was saved, and this tensor does not say in `layout_axes` how it follows. "
            "Train another world, or delete the head's folder to go on without it."
        )
    for key in sorted(expected.keys() | tensors.keys()):
        if key not in tensors or key not in expected:
            state = "lacks" if key not in tensors else "has an unexpected"
            raise ManyheadsError(f"{folder.path}: saved {name!r} {state} tensor {key}. {reason}")
        if expected[key].shape != tensors[key].shape:
            raise ManyheadsError(
                f"{folder.path}: tensor {key} of {name!r} is {tuple(tensors[key].shape)}, "
                f"expected {tuple(expected[key].shape)}. {reason}"
            )
    module.load_state_dict(tensors)
