"""A trained world in a few lines: `agent = manyheads.load("world/").head("task")`, then `agent.act(observation)`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from manyheads import atomic
from manyheads.environment.adapter import FlatEnv, LayoutMap, RowFormat
from manyheads.environment.layout import Mask, SpaceLayout
from manyheads.errors import ManyheadsError, unknown
from manyheads.filenames import file_name
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
    """A world as it was saved: `model`, `folder`, and agents by `head(name)`.

    With `best`, each agent is the best of the evaluations while it trained, on the world as it was then; those that
    were never evaluated are as they were saved last.
    """

    def __init__(self, folder: WorldFolder, best: bool = False) -> None:
        if "world" not in folder.checkpoint.names:
            raise ManyheadsError(f"{folder.path} has not been trained yet. `manyheads train {folder.path} TASK` does.")
        self.folder, self.best = folder, best
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

    def head(self, name: str | None = None, seed: int = 0) -> Agent:
        """The agent of a task, by default of the only head.

        Raises ManyheadsError with the near names for an unknown one, and with all of them where one must be chosen.
        """
        model, head, task = self._parts(name or self._only_head)
        return Agent(model, head, task, seed, saved_row_format(self.folder, task))

    @property
    def _only_head(self) -> str:
        """The name of the only head; raises ManyheadsError where there are several, or none."""
        if len(self.heads) != 1:
            raise ManyheadsError(
                f"{self.folder.path} has {len(self.heads)} heads ({', '.join(self.heads) or 'none'}): name one of them."
            )
        return self.heads[0]

    def vector_head(self, name: str, num_envs: int, seed: int = 0, same_step_reset: bool = False) -> VectorAgent:
        """The agent of a task for so many environments at once."""
        model, head, task = self._parts(name)
        row_format = saved_row_format(self.folder, task)
        return VectorAgent(model, head, task, num_envs, seed, same_step_reset, row_format)

    def _parts(self, name: str) -> tuple[World, Head, Task]:
        if name not in self.heads:
            raise unknown(f"head in {self.folder.path}", name, self.heads)
        task, model, place = self.folder.task(name), self.model, "heads"
        if self.best and f"best/{file_name(name)}/weights" in self.folder.checkpoint.names:
            model, place = World(self.folder.interface, self.folder.settings.world), "best"
            load_module(model, self.folder, f"best/{task.slug}/world")
            model.requires_grad_(False)
        head = build_head(task, model, self.folder)
        load_module(head, self.folder, f"{place}/{task.slug}/weights")
        head.requires_grad_(False)
        return model, head, task


class VectorAgent:
    """A head that acts in N environments at once, on what a Gymnasium vector environment of the task shows.

    Call `act` once for each step of the environments, the first time for what their reset gave. Environments that end
    show the last observation of their episode and are reset by the step after it, as Gymnasium's do; with
    `same_step_reset` they show the first one of the next episode at once.
    """

    def __init__(
        self,
        world: World,
        head: Head,
        task: Task,
        num_envs: int,
        seed: int = 0,
        same_step_reset: bool = False,
        row_format: RowFormat | None = None,
    ) -> None:
        """Without `row_format` the spaces are those of the task's simulator, which is built for them."""
        if num_envs < 1:
            raise ManyheadsError(f"num_envs={num_envs}: expected 1 or more.")
        self.world, self.head, self.task, self.num_envs, self.seed = world, head, task, num_envs, seed
        self._same_step_reset = same_step_reset
        if row_format is not None:
            self._adapted = row_format
        self.reset()

    def reset(self) -> None:
        """Call where all environments were reset together."""
        names = [self.task.name] * self.num_envs
        heads = {self.task.name: self.head}
        layouts = [self._adapted.layout] * self.num_envs
        self._policy = VectorPolicy(self.world, heads, names, layouts, self.seed, capture=False)
        self.seed += 1
        self._first = np.ones(self.num_envs, bool)

    def act(
        self,
        observations: Any,
        infos: Mapping[str, Any] | None = None,
        *,
        done: npt.ArrayLike | None = None,
        deterministic: bool = False,
    ) -> Any:
        """Native actions for native observations, both batched as the environment's spaces are (N first).

        `done` (N,) is `terminated | truncated` of the step that gave the observations; without it, no episode ended.
        `infos`, as the environments give them, are needed where the task's reward remembers earlier rows.
        `deterministic` takes the most likely action instead of a drawn one.
        """
        ended = np.zeros(self.num_envs, bool) if done is None else np.asarray(done, bool).reshape(self.num_envs)
        starts = self._first | ended if self._same_step_reset else self._first
        self._first = np.zeros(self.num_envs, bool) if self._same_step_reset else ended
        rows = [self._adapted.observe(each) for each in self._unbatched(observations)]
        image = None
        if self.world.interface.image is not None:
            image = np.stack([np.asarray(self._layout_map.map_image(row[0])) for row in rows])
        vector = self._layout_map.map_vector(np.stack([row[1] for row in rows]))
        signals = self._signals(infos) if self.head.needs_signals else None
        with self.head.deterministic(deterministic):
            flat = self._policy.act(image, vector, starts, signals).action
        actions = [self._adapted.act(self._layout_map.unmap_action(each)) for each in flat]
        return self._batched(actions)

    def _unbatched(self, observations: Any) -> list[Any]:
        space = self._adapted.observation_space
        found = [*iterate(batch_space(space, self.num_envs), observations)]
        if len(found) != self.num_envs:
            raise ManyheadsError(f"This agent acts in {self.num_envs} environments; it was given {len(found)} rows.")
        return found

    def _batched(self, actions: list[Any]) -> Any:
        space = self._adapted.action_space
        out: Any = create_empty_array(space, self.num_envs)
        return concatenate(space, actions, out)

    def _signals(self, infos: Mapping[str, Any] | None) -> npt.NDArray[np.float64] | None:
        """(N, S) in the order of the task's signals."""
        measured = (infos or {}).get("signals")
        if measured is None:
            return None
        columns = [np.asarray(measured[signal.name], np.float64) for signal in self.task.instance.signals]
        return np.stack([column.reshape(self.num_envs) for column in columns], axis=1)

    @property
    def row_format(self) -> RowFormat:
        """How the environment's observations and actions become flat ones."""
        return self._adapted

    @cached_property
    def _adapted(self) -> RowFormat:
        return FlatEnv(self.task.make_simulator(), self.task.instance.signals)

    @cached_property
    def _layout_map(self) -> LayoutMap:
        return LayoutMap(self.world.interface, self._adapted.layout)


class Agent(VectorAgent):
    """A head that acts on native observations in one environment. Samples its actions, as it was trained."""

    def __init__(
        self, world: World, head: Head, task: Task, seed: int = 0, row_format: RowFormat | None = None
    ) -> None:
        super().__init__(world, head, task, 1, seed, row_format=row_format)

    def act(self, observation: Any, info: Mapping[str, Any] | None = None, *, deterministic: bool = False) -> Any:  # type: ignore[override]
        """The native action for a native observation of the task's environment; `reset` where an episode starts.

        `info`, which came with it, is needed where the task's reward remembers earlier rows: it has the signals.
        `deterministic` takes the most likely action instead of a drawn one.
        """
        return super().act(observation, info, deterministic=deterministic)

    def _unbatched(self, observations: Any) -> list[Any]:
        return [observations]

    def _batched(self, actions: list[Any]) -> Any:
        return actions[0]


def load(path: str | Path, best: bool = False) -> LoadedWorld:
    """Opens a trained world: its folder, a pack, or the name of a world that comes with manyheads.

    Raises ManyheadsError where it is missing, damaged or newer.
    """
    from manyheads.storage.packaged_worlds import world_folder

    return LoadedWorld(world_folder(path), best)


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
    saved = folder.interface_of(name)
    reason = "Were the settings edited?"
    if saved != folder.interface:
        reason = (
            "The world has grown since it was saved, and this tensor does not say in `layout_axes` how it follows. "
            "Train another world, or delete the head's folder to continue without it."
        )
    load_by_name(module, folder.checkpoint.read(name), saved, folder.interface, f"{folder.path}: {name}", reason)


def load_by_name(
    module: torch.nn.Module,
    tensors: Mapping[str, torch.Tensor],
    saved: SpaceLayout,
    interface: SpaceLayout,
    what: str,
    reason: str,
) -> None:
    """Loads tensors that were saved under one interface into a module for another, which may have more entries.

    Raises ManyheadsError that says of `what` which tensor does not fit, followed by the `reason`.
    """
    tensors, expected = Growth.of(module, saved, interface).weights(tensors, module), module.state_dict()
    for key in sorted(expected.keys() | tensors.keys()):
        if key not in tensors or key not in expected:
            state = "lacks" if key not in tensors else "has an unexpected"
            raise ManyheadsError(f"{what} {state} tensor {key}. {reason}")
        if expected[key].shape != tensors[key].shape:
            raise ManyheadsError(
                f"{what}: tensor {key} is {tuple(tensors[key].shape)}, expected {tuple(expected[key].shape)}. {reason}"
            )
    module.load_state_dict(tensors)
