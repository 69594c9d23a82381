"""The collector: lets policies act in all slots in lock-step and writes down every row with honest flags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from manyheads.environment.adapter import Adapted
from manyheads.environment.contract import Instance
from manyheads.environment.places import Places
from manyheads.experience.chunk import Rows
from manyheads.experience.replay import Replay
from manyheads.experience.simulators import Floats, Local, Make, Seen, Simulators
from manyheads.experience.stream import Recorded

TRAINING_SEEDS = 10_000_000
"""Seeds of training episodes lie below; evaluation's are reserved from here on."""


@dataclass(frozen=True)
class Slot:
    """One environment that is stepped, and the name of the policy that acts in it."""

    instance: Instance
    policy: str = ""


class Observed(NamedTuple):
    """What all N slots show: the input of `act`."""

    image: npt.NDArray[np.uint8] | None
    """(N, H, W, C), None where the interface has no image"""
    vector: Floats
    """(N, V)"""
    first: npt.NDArray[np.bool_]
    """(N,) a new episode begins: whatever a policy remembers of the slot is void"""


Act = Callable[[Observed], tuple[Floats, Any, Any]]
"""Flat actions (N, A), unclipped; the latents deter (N, D), stoch (N, G, C) after seeing, or None twice"""


@dataclass(frozen=True)
class Finished:
    """An episode that ended."""

    slot: int
    policy: str
    instance: str
    episode: int
    score: float
    """sum of the simulator's own reward"""
    length: int
    """steps taken"""


@dataclass(frozen=True)
class StepResult:
    """What one call of `collect` brought."""

    rows: int
    steps: int
    """environment steps: rows less those that ended an episode, whose actions are not carried out"""
    finished: list[Finished]


def adapt(instance: Instance) -> Adapted:
    """The instance's environment as flat rows."""
    return Adapted(instance.make(), instance.signals)


class Collector:
    """Steps all slots in lock-step; each has a stream of its own in replay.

    Every row is written when it has been acted upon. The row with `last` holds the final observation of an
    episode; its action is not carried out, and the next row is the `first` of a new episode, whose seed
    follows from the run's seed and the episode's number alone. With workers the environments step while the
    caller does other things between two calls; the rows are the same.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        interface: Places,
        replay: Replay,
        seed: int = 0,
        workers: int = 0,
        make: Make = adapt,
    ) -> None:
        self.slots, self.replay, self.seed = tuple(slots), replay, seed
        instances = [slot.instance for slot in slots]
        self._simulators: Simulators = Local(instances, interface, make)
        count = len(slots)
        self._actions = np.zeros((count, interface.action_size), np.float32)
        self._streams = [-1] * count
        self._episode = np.zeros(count, np.int64)
        self._index = np.zeros(count, np.int64)
        self._score = np.zeros(count)
        self._fresh: Seen | None = None

    def collect(self, act: Act) -> StepResult:
        """Lets `act` choose an action in each slot, writes the rows, and takes the next step everywhere."""
        if self._streams[0] < 0:
            self._begin()
        seen = self._simulators.wait()
        first = self._index == 0
        action, deter, stoch = act(Observed(seen.image, seen.vector, first))
        rows = Rows(
            image=seen.image,
            vector=seen.vector,
            action=action,
            signals=seen.signals,
            first=first,
            last=seen.last,
            terminal=seen.terminal,
            episode=self._episode,
            index=self._index,
        )
        self.replay.add(self._streams, rows, deter, stoch)
        self._score += seen.signals[:, 0]
        finished = [self._finished(slot) for slot in np.flatnonzero(seen.last).tolist()]
        self._index += 1
        seeds = [self._next_episode(slot) if last else None for slot, last in enumerate(seen.last.tolist())]
        self._simulators.start(seeds, action)
        return StepResult(len(self.slots), len(self.slots) - len(finished), finished)

    def close(self) -> None:
        """Ends the environments."""
        self._simulators.close()

    def _begin(self) -> None:
        for slot in range(len(self.slots)):
            self._streams[slot] = self._open_stream(slot)
        seeds = [self._next_episode(slot) for slot in range(len(self.slots))]
        self._simulators.start(seeds, self._actions)

    def _open_stream(self, slot: int) -> int:
        return self.replay.open_stream(Recorded.of(self.slots[slot].instance, self._simulators.places[slot]))

    def _next_episode(self, slot: int) -> int:
        self._episode[slot] = self.replay.new_episode()
        self._index[slot] = self._score[slot] = 0
        return episode_seed(self.seed, int(self._episode[slot]))

    def _finished(self, slot: int) -> Finished:
        bound = self.slots[slot]
        return Finished(
            slot,
            bound.policy,
            bound.instance.key,
            int(self._episode[slot]),
            float(self._score[slot]),
            int(self._index[slot]),
        )


def episode_seed(seed: int, episode: int) -> int:
    """The simulator's seed for a training episode: below TRAINING_SEEDS."""
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0]) % TRAINING_SEEDS
