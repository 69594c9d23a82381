"""Environments stepped together: the contract, and environments in this process."""

from __future__ import annotations

from collections.abc import Callable, MutableSequence, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from manyheads.environment.adapter import FlatEnv, LayoutMap
from manyheads.environment.contract import Instance
from manyheads.environment.episode import limit_episodes
from manyheads.environment.foreign import words
from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ForeignError, ManyheadsError

Floats = npt.NDArray[np.float32]

LARGEST_SIGNAL = 1e30
"""Signals and rewards beyond this are refused: sums and averages of a batch would not be finite in float32."""


@dataclass(frozen=True)
class EnvSlot:
    """One environment that is stepped, the name of the policy that acts in it, and its time limit in steps."""

    instance: Instance
    policy: str = ""
    episode_steps: int | None = None

    def make(self) -> FlatEnv:
        """The environment as flat rows."""
        env = self.instance.make()
        return FlatEnv(
            env if self.episode_steps is None else limit_episodes(env, self.episode_steps), self.instance.signals
        )


@dataclass(frozen=True)
class EnvFailure:
    """Why a reset or step of an environment came to nothing."""

    message: str
    """names the instance, the episode's seed, the step, and has the environment's own words"""
    own: bool = True
    """False where it was lost through another environment of its worker process"""


@dataclass(frozen=True)
class VectorStep:
    """N observations after a reset or step, in the interface's layout."""

    image: npt.NDArray[np.uint8] | None
    """(N, H, W, C), None where the interface has no image"""
    vector: Floats
    """(N, V)"""
    signals: npt.NDArray[np.float64]
    """(N, S), padded with zeros"""
    is_last: npt.NDArray[np.bool_]
    is_terminal: npt.NDArray[np.bool_]
    failures: dict[int, EnvFailure] = field(default_factory=dict)
    """by number of the environment; its row means nothing"""

    @classmethod
    def empty(cls, interface: SpaceLayout, count: int, signals: int) -> VectorStep:
        """Rows of zeros."""
        return cls(
            None if interface.image is None else np.zeros((count, *interface.image), np.uint8),
            np.zeros((count, len(interface.vector)), np.float32),
            np.zeros((count, signals)),
            np.zeros(count, np.bool_),
            np.zeros(count, np.bool_),
        )


class VectorEnv(Protocol):
    """N environments, numbered from 0 and stepped in lock-step: `step_async`, then `step_wait`.

    An environment that fails (raises, exits, hangs, takes its process with it) is a failure in the step's result,
    never an exception. It is recreated at its next reset.
    """

    layouts: list[SpaceLayout]
    """of each environment"""

    def step_async(self, seeds: Sequence[int | None], actions: Floats) -> None:
        """Begins a step of each environment by its flat action (N, A); one that is given a seed is reset instead."""

    def step_wait(self) -> VectorStep:
        """The N rows after it."""

    def rebuild(self, env: int, seed: int, actions: Floats) -> VectorStep:
        """Resets one environment and steps it by actions (n, A): n + 1 rows; failures may be of others too."""

    def close(self) -> None:
        """Closes the environments."""


MakeVectorEnv = Callable[[Sequence[EnvSlot], SpaceLayout], VectorEnv]
"""Makes a vector environment of the given environments in a world's interface."""


class SyncVectorEnv:
    """Environments in this process."""

    def __init__(
        self, slots: Sequence[EnvSlot], interface: SpaceLayout, at: MutableSequence[int] | None = None
    ) -> None:
        self.slots, self.interface = slots, interface
        self._at = [0] * 4 if at is None else at
        """environment that is at work, calls so far, its episode's seed and step: for who watches from outside"""
        self._passed_on: tuple[type[BaseException], ...] = (KeyboardInterrupt,) if at is None else ()
        """a person's Ctrl-C, which workers do not get"""
        self._episodes: list[tuple[int, int]] = [(0, 0)] * len(slots)
        made = [self._make(env) for env in range(len(slots))]
        self.environments: list[FlatEnv | None] = [*made]
        self._layout_maps = [LayoutMap(interface, env.layout) for env in made]
        self.layouts = [layout_map.layout for layout_map in self._layout_maps]
        self._low, self._high = np.zeros((2, len(slots), len(interface.vector)), np.float32)
        """bounds of each environment's entries; those that it lacks stay zero"""
        for number, env in enumerate(made):
            self._set_bounds(number, env)
        self._signals = max((len(slot.instance.signals) for slot in slots), default=0)
        self._step: VectorStep | None = None

    def step_async(self, seeds: Sequence[int | None], actions: Floats) -> None:
        step = VectorStep.empty(self.interface, len(self.slots), self._signals)
        for env, seed in enumerate(seeds):
            self._advance(env, seed, actions[env], step, env)
        self._check(step, 0, 0, len(self.slots))
        self._step = step

    def step_wait(self) -> VectorStep:
        assert self._step is not None
        return self._step

    def rebuild(self, env: int, seed: int, actions: Floats) -> VectorStep:
        step = VectorStep.empty(self.interface, len(actions) + 1, self._signals)
        for row, action in enumerate([None, *actions]):
            self._advance(env, seed if action is None else None, action, step, row)
            self._check(step, row, env, 1)
            if step.failures or step.is_last[row]:
                break
        return step

    def close(self) -> None:
        for env in range(len(self.environments)):
            self._discard(env)

    def _make(self, env: int) -> FlatEnv:
        self._mark(env)
        try:
            return self.slots[env].make()
        except self._passed_on:
            raise
        except BaseException as error:  # whatever an environment raises
            raise ManyheadsError(
                f"{self.slots[env].instance.key} could not be made: {self._words(env, error)}."
            ) from error

    def _advance(self, env: int, seed: int | None, action: Any, step: VectorStep, row: int) -> None:
        """One reset or step, into that row of `step`, for `_check` to look at."""
        episode, at = self._episodes[env]
        self._episodes[env] = (episode, at + 1) if seed is None else (seed, 0)
        self._mark(env)
        layout_map = self._layout_maps[env]
        try:
            made = self.environments[env]
            if seed is not None:
                made = self.environments[env] = made or self._made_again(env)
                observation, info = made.env.reset(seed=seed)
            else:
                assert made is not None, "an environment that failed is reset before it is stepped"
                action = made.act(layout_map.unmap_action(action))
                observation, _, step.is_terminal[row], truncated, info = made.env.step(action)
                step.is_last[row] = truncated or step.is_terminal[row]
            vector = np.zeros(len(layout_map.layout.vector), np.float32)
            image = layout_map.map_image(made.write(observation, info, vector, step.signals[row, : len(made.signals)]))
            layout_map.map_vector(vector, out=step.vector[row])
            if step.image is not None and image is not None:
                step.image[row] = image
        except self._passed_on:
            raise
        except BaseException as error:  # whatever an environment raises
            self._fail(env, step, error)

    def _check(self, step: VectorStep, row: int, env: int, count: int) -> None:
        """Checks numbers of rows from `row` on, as many as environments from `env` on; a refused one is a failure."""
        rows, envs = slice(row, row + count), slice(env, env + count)
        vector, signals = step.vector[rows], step.signals[rows]
        outside = ~((vector >= self._low[envs]) & (vector <= self._high[envs]))
        beyond = np.abs(signals) > LARGEST_SIGNAL
        if not (outside.any() or beyond.any()):
            return
        for i in np.flatnonzero(outside.any(1) | beyond.any(1)).tolist():
            made = self.environments[env + i]
            if made is None:
                continue
            try:
                made.observe.check(self._layout_maps[env + i].unmap_vector(vector[i]))
                if beyond[i].any():
                    name, value = made.signals[beyond[i].argmax()], signals[i, beyond[i].argmax()]
                    raise ManyheadsError(
                        f"signal {name!r} is {value:g}; learning takes numbers up to {LARGEST_SIGNAL:g}"
                    )
            except self._passed_on:
                raise
            except BaseException as error:  # also a warning that the caller has made an error
                self._fail(env + i, step, error)

    def _fail(self, env: int, step: VectorStep, error: BaseException) -> None:
        step.failures[env] = EnvFailure(f"{describe(self.slots[env], *self._episodes[env])}: {self._words(env, error)}")
        self._discard(env)

    def _made_again(self, env: int) -> FlatEnv:
        made = self._make(env)
        if self._layout_maps[env].interface.naming(made.layout) != self.layouts[env]:
            raise ManyheadsError("recreated, it has other spaces than before")
        self._set_bounds(env, made)
        return made

    def _set_bounds(self, env: int, made: FlatEnv) -> None:
        for ends, own in zip((self._low, self._high), made.observe.bounds, strict=True):
            self._layout_maps[env].map_vector(own, out=ends[env])

    def _discard(self, env: int) -> None:
        """Closes an environment; one that fails in closing has been given up anyway."""
        made, self.environments[env] = self.environments[env], None
        if made is not None:
            with suppress(BaseException):
                made.close()

    def _words(self, env: int, error: BaseException) -> str:
        """An error in its own words, without the names of environment and step, which stand before it already."""
        if isinstance(error, ForeignError) and error.words:
            return error.words
        if isinstance(error, ManyheadsError):
            instance = self.slots[env].instance
            text = str(error).rstrip(".")
            return text.removeprefix(f"{instance.key}: ").removeprefix(f"{instance.environment.name}: ")
        return words(error)

    def _mark(self, env: int) -> None:
        self._at[0], self._at[2], self._at[3] = env, *self._episodes[env]
        self._at[1] += 1


def describe(slot: EnvSlot, seed: int, step: int) -> str:
    """The beginning of a failure's message."""
    return f"{slot.instance.key}, step {step} of the episode with seed {seed}"
