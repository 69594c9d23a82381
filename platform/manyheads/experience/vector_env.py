"""The environments of all slots, stepped together: in this process, or spread over worker processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from manyheads.environment.adapter import FlatEnv, LayoutMap
from manyheads.environment.contract import Instance
from manyheads.environment.episode import limit_episodes
from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EnvSlot:
    """One environment that is stepped, the name of the policy that acts in it, and its time limit in steps."""

    instance: Instance
    policy: str = ""
    episode_steps: int | None = None

    def make(self) -> FlatEnv:
        """The slot's environment as flat rows."""
        env = self.instance.make()
        return FlatEnv(
            env if self.episode_steps is None else limit_episodes(env, self.episode_steps), self.instance.signals
        )


@dataclass(frozen=True)
class VectorStep:
    """What N slots show after a reset or step, fitted to the interface."""

    image: npt.NDArray[np.uint8] | None
    """(N, H, W, C), None where the interface has no image"""
    vector: Floats
    """(N, V)"""
    signals: npt.NDArray[np.float64]
    """(N, S), padded with zeros"""
    is_last: npt.NDArray[np.bool_]
    is_terminal: npt.NDArray[np.bool_]


class VectorEnv(Protocol):
    """Slots numbered from 0, stepped in lock-step: `start` and then `wait`."""

    layouts: list[SpaceLayout]
    """of each slot's environment"""

    def step_async(self, seeds: Sequence[int | None], actions: Floats) -> None:
        """Begins a step of each slot by its flat action (N, A); one that is given a seed is reset instead."""

    def step_wait(self) -> VectorStep:
        """What the slots show after it; raises ManyheadsError where one failed."""

    def rebuild(self, slot: int, seed: int, actions: Floats) -> VectorStep:
        """Resets one slot and steps it by actions (n, A): the n + 1 rows that it showed."""

    def close(self) -> None:
        """Ends the environments."""


class SyncVectorEnv:
    """Simulators in this process."""

    def __init__(self, slots: Sequence[EnvSlot], interface: SpaceLayout) -> None:
        self.slots, self.interface = slots, interface
        self.environments = [slot.make() for slot in slots]
        self.layouts = [environment.layout for environment in self.environments]
        self._fittings = [LayoutMap(interface, places) for places in self.layouts]
        self._signals = max((len(slot.instance.signals) for slot in slots), default=0)
        self._episodes: list[tuple[int, int]] = [(0, 0)] * len(slots)
        self._seen: VectorStep | None = None

    def step_async(self, seeds: Sequence[int | None], actions: Floats) -> None:
        seen = self._empty(len(self.environments))
        for slot, seed in enumerate(seeds):
            self._advance(slot, seed, actions[slot], seen, slot)
        self._seen = seen

    def step_wait(self) -> VectorStep:
        assert self._seen is not None
        return self._seen

    def rebuild(self, slot: int, seed: int, actions: Floats) -> VectorStep:
        seen = self._empty(len(actions) + 1)
        self._advance(slot, seed, None, seen, 0)
        for row, action in enumerate(actions, start=1):
            self._advance(slot, None, action, seen, row)
            if seen.is_last[row]:
                break
        return seen

    def close(self) -> None:
        for environment in self.environments:
            environment.close()

    def _empty(self, count: int) -> VectorStep:
        image = self.interface.image
        return VectorStep(
            None if image is None else np.zeros((count, *image), np.uint8),
            np.zeros((count, len(self.interface.vector)), np.float32),
            np.zeros((count, self._signals)),
            np.zeros(count, np.bool_),
            np.zeros(count, np.bool_),
        )

    def _advance(self, slot: int, seed: int | None, action: Any, seen: VectorStep, row: int) -> None:
        environment, fitting = self.environments[slot], self._fittings[slot]
        try:
            if seed is not None:
                self._episodes[slot] = (seed, 0)
                shown = environment.reset(seed)
            else:
                self._episodes[slot] = (self._episodes[slot][0], self._episodes[slot][1] + 1)
                shown, seen.is_last[row], seen.is_terminal[row] = environment.step(fitting.unmap_action(action))
        except Exception as error:
            seed, step = self._episodes[slot]
            reason = str(error) if isinstance(error, ManyheadsError) else f"{type(error).__name__}: {error}"
            raise ManyheadsError(
                f"{self.slots[slot].instance.key}: step {step} of the episode with seed {seed} failed: "
                f"{reason.rstrip('.')}. The rows before it are kept."
            ) from error
        seen.vector[row] = fitting.map_vector(shown.vector)
        seen.signals[row, : len(shown.signals)] = shown.signals
        picture = fitting.map_image(shown.image)
        if seen.image is not None and picture is not None:
            seen.image[row] = picture
