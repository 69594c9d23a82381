"""Where a trainer's rows come from: the contract, and environments that step in lock-step with learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from manyheads.experience.collector import Collector, CollectResult
from manyheads.experience.replay import Replay
from manyheads.experience.subproc_vector_env import choose_vector_env
from manyheads.experience.vector_env import EnvSlot, MakeVectorEnv
from manyheads.heads.contract import Head
from manyheads.heads.policy import VectorPolicy
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import Task
from manyheads.world.model import World


class RowCollector(Protocol):
    """Fills a replay, in lock-step with learning or while learning continues."""

    def due(self, updates: int) -> bool:
        """Whether rows must come in before another update is made after so many."""

    def collect(self, updates: int, limit: int) -> CollectResult:
        """Adds rows to the replay; they act with weights of so many `updates`, or older ones.

        About `limit` rows are still wanted, 0 where only those that are `due`. Returns within a second or so, with no
        rows where none have come.
        """

    def state(self) -> dict[str, Any]:
        """JSON-able: where every environment is; see `CollectorState`."""

    def tensors(self) -> Mapping[str, Tensor]:
        """What a bit-exact continuation needs besides; empty where none is promised."""

    def close(self) -> None:
        """Ends the environments."""


@dataclass(frozen=True)
class CollectorContext:
    """What a collector is made for."""

    folder: WorldFolder
    tasks: Sequence[Task]
    """of each environment"""
    world: World
    heads: Mapping[str, Head]
    """by task; trained meanwhile"""
    replay: Replay
    saved: Mapping[str, Any] | None = None
    """what `RowCollector.state` returned in the run that continues"""
    tensors: Mapping[str, Tensor] | None = None
    """and `RowCollector.tensors`"""
    say: Callable[[str], None] = print

    @property
    def slots(self) -> list[EnvSlot]:
        """The environments."""
        return [EnvSlot(task.instance, task.name, task.episode_steps) for task in self.tasks]


MakeRowCollector = Callable[[CollectorContext], RowCollector]


class LockStep:
    """Every environment makes one step, then learning catches up: a stopped run resumes bit for bit."""

    def __init__(self, context: CollectorContext, make_vector_env: MakeVectorEnv | None = None) -> None:
        """`make_vector_env` makes the environments; as the settings have it by default."""
        settings, slots = context.folder.settings, context.slots
        make = make_vector_env or choose_vector_env(settings.training.workers, settings.training.step_timeout)
        self.collector = Collector(slots, context.folder.interface, context.replay, settings.seed, make)
        names, layouts = [slot.policy for slot in slots], self.collector.layouts
        self.policy = VectorPolicy(context.world, context.heads, names, layouts, settings.seed)
        if context.saved:
            if context.tensors:
                self.policy.load_state_dict(context.tensors)
            for note in self.collector.restore(context.saved, context.replay):
                context.say(note)

    def due(self, updates: int) -> bool:
        return False

    def collect(self, updates: int, limit: int) -> CollectResult:
        return self.collector.collect(self.policy.act)

    def state(self) -> dict[str, Any]:
        return self.collector.state()

    def tensors(self) -> Mapping[str, Tensor]:
        return self.policy.state_dict()

    def close(self) -> None:
        self.collector.close()
