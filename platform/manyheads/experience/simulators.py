"""The environments of all slots, stepped together: in this process, or spread over worker processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from manyheads.environment.adapter import Adapted, Fitting
from manyheads.environment.contract import Instance
from manyheads.environment.episode import episodes
from manyheads.environment.places import Places
from manyheads.errors import ManyheadsError

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Slot:
    """One environment that is stepped, the name of the policy that acts in it, and its time limit in steps."""

    instance: Instance
    policy: str = ""
    episode_steps: int | None = None

    def make(self) -> Adapted:
        """The slot's environment as flat rows."""
        env = self.instance.make()
        return Adapted(env if self.episode_steps is None else episodes(env, self.episode_steps), self.instance.signals)


@dataclass(frozen=True)
class Seen:
    """What N slots show after a reset or step, fitted to the interface."""

    image: npt.NDArray[np.uint8] | None
    """(N, H, W, C), None where the interface has no image"""
    vector: Floats
    """(N, V)"""
    signals: npt.NDArray[np.float64]
    """(N, S), padded with zeros"""
    last: npt.NDArray[np.bool_]
    terminal: npt.NDArray[np.bool_]


class Simulators(Protocol):
    """Slots numbered from 0, stepped in lock-step: `start` and then `wait`."""

    places: list[Places]
    """of each slot's environment"""

    def start(self, seeds: Sequence[int | None], actions: Floats) -> None:
        """Begins a step of each slot by its flat action (N, A); one that is given a seed is reset instead."""

    def wait(self) -> Seen:
        """What the slots show after it; raises ManyheadsError where one failed."""

    def rebuild(self, slot: int, seed: int, actions: Floats) -> Seen:
        """Resets one slot and steps it by actions (n, A): the n + 1 rows that it showed."""

    def close(self) -> None:
        """Ends the environments."""


class Local:
    """Simulators in this process."""

    def __init__(self, slots: Sequence[Slot], interface: Places) -> None:
        self.slots, self.interface = slots, interface
        self.environments = [slot.make() for slot in slots]
        self.places = [environment.places for environment in self.environments]
        self._fittings = [Fitting(interface, places) for places in self.places]
        self._signals = max((len(slot.instance.signals) for slot in slots), default=0)
        self._episodes: list[tuple[int, int]] = [(0, 0)] * len(slots)
        self._seen: Seen | None = None

    def start(self, seeds: Sequence[int | None], actions: Floats) -> None:
        seen = self._empty(len(self.environments))
        for slot, seed in enumerate(seeds):
            self._advance(slot, seed, actions[slot], seen, slot)
        self._seen = seen

    def wait(self) -> Seen:
        assert self._seen is not None
        return self._seen

    def rebuild(self, slot: int, seed: int, actions: Floats) -> Seen:
        seen = self._empty(len(actions) + 1)
        self._advance(slot, seed, None, seen, 0)
        for row, action in enumerate(actions, start=1):
            self._advance(slot, None, action, seen, row)
            if seen.last[row]:
                break
        return seen

    def close(self) -> None:
        for environment in self.environments:
            environment.close()

    def _empty(self, count: int) -> Seen:
        image = self.interface.image
        return Seen(
            None if image is None else np.zeros((count, *image), np.uint8),
            np.zeros((count, len(self.interface.vector)), np.float32),
            np.zeros((count, self._signals)),
            np.zeros(count, np.bool_),
            np.zeros(count, np.bool_),
        )

    def _advance(self, slot: int, seed: int | None, action: Any, seen: Seen, row: int) -> None:
        environment, fitting = self.environments[slot], self._fittings[slot]
        try:
            if seed is not None:
                self._episodes[slot] = (seed, 0)
                shown = environment.reset(seed)
            else:
                self._episodes[slot] = (self._episodes[slot][0], self._episodes[slot][1] + 1)
                shown, seen.last[row], seen.terminal[row] = environment.step(fitting.action(action))
        except Exception as error:
            seed, step = self._episodes[slot]
            reason = str(error) if isinstance(error, ManyheadsError) else f"{type(error).__name__}: {error}"
            raise ManyheadsError(
                f"{self.slots[slot].instance.key}: step {step} of the episode with seed {seed} failed: "
                f"{reason.rstrip('.')}. The rows before it are kept."
            ) from error
        seen.vector[row] = fitting.vector(shown.vector)
        seen.signals[row, : len(shown.signals)] = shown.signals
        picture = fitting.image(shown.image)
        if seen.image is not None and picture is not None:
            seen.image[row] = picture
