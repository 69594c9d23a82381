"""Flat actions as native ones of any Gymnasium space."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from manyheads.environment.notice import note_once
from manyheads.environment.spaces import (
    Leaf,
    Space,
    discrete_sizes,
    leaf_spaces,
    nest,
    require_distinct,
    unsupported,
)
from manyheads.errors import ManyheadsError

UNBOUNDED = 1e30
"""Bounds of this size or more (float32's largest number in many environments) stand for none."""


class ActionUnflattener:
    """Turns flat actions (A,) float32 into native ones: continuous entries, then a one-hot block a choice.

    Continuous entries are clipped to [-1, 1] here and nowhere else, then rescaled to the box where it is bounded. An
    entry without bounds is used as it is; one with a single bound reaches 2 beyond it. Both are said once.
    """

    def __init__(self, space: Space, owner: str) -> None:
        self._space, self._owner = space, owner
        self._leaves = list(leaf_spaces(space, "action"))
        self.continuous: tuple[str, ...] = ()
        self.discrete: tuple[tuple[str, int], ...] = ()
        for leaf in self._leaves:
            part = leaf.space
            if isinstance(part, spaces.Box):
                self.continuous += tuple(f"{leaf.name}[{i}]" for i in range(int(np.prod(part.shape))))
            elif isinstance(part, spaces.Discrete):
                self.discrete += ((leaf.name, int(part.n)),)
            elif isinstance(part, spaces.MultiDiscrete | spaces.MultiBinary):
                self.discrete += tuple((f"{leaf.name}.{i}", size) for i, size in enumerate(discrete_sizes(part)))
            else:
                raise unsupported(owner, "actions", leaf)
        if not self.continuous and not self.discrete:
            raise ManyheadsError(f"{owner} has no actions: its action space is {space}.")
        require_distinct([*self.continuous, *(name for name, _ in self.discrete)], owner, "actions")
        self.size = len(self.continuous) + sum(size for _, size in self.discrete)
        self._offsets = len(self.continuous) + np.cumsum([0, *(size for _, size in self.discrete)])
        self._readers = list(self._read_leaves())
        for leaf, scale in self._scales():
            if not scale.bounded.all():
                note_once(_range_used(owner, leaf, scale))

    def __call__(self, action: npt.ArrayLike) -> Any:
        flat = np.asarray(action, np.float32)
        if flat.shape != (self.size,) or not np.isfinite(flat).all():
            raise ManyheadsError(f"{self._owner} takes {self.size} finite numbers as action, not {action!r}.")
        parts = {leaf.path: read(flat) for leaf, read in self._readers}
        return parts[()] if () in parts else nest(self._space, parts)

    def _read_leaves(self) -> Iterator[tuple[Leaf, _Scale | _Choice]]:
        """Each leaf with what reads its native value from a flat action."""
        number = block = 0
        for leaf in self._leaves:
            if isinstance(leaf.space, spaces.Box):
                size = int(np.prod(leaf.space.shape))
                yield leaf, _Scale.of(leaf.space, slice(number, number + size))
                number += size
            else:
                count = 1 if isinstance(leaf.space, spaces.Discrete) else len(discrete_sizes(leaf.space))
                yield leaf, _Choice(leaf.space, self._offsets[block : block + count + 1].tolist())
                block += count

    def _scales(self) -> Iterator[tuple[Leaf, _Scale]]:
        return ((leaf, read) for leaf, read in self._readers if isinstance(read, _Scale))

    def ends(self, value: float) -> npt.NDArray[np.float64]:
        """What an entry of `value`, -1 or 1, is in native units, for each continuous entry."""
        ends = [np.clip(value * scale.half + scale.middle, scale.low, scale.high) for _, scale in self._scales()]
        return np.concatenate([np.zeros(0), *ends])

    def flatten(self, action: Any) -> npt.NDArray[np.float32]:
        """The flat action (A,) that a native one is; raises ManyheadsError where it does not fit the space."""
        if not self._space.contains(action):
            raise ManyheadsError(f"{self._owner} takes actions of {self._space}, not {action!r}.")
        numbers, blocks = [np.zeros(0)], []
        for leaf, read in self._readers:
            value = np.asarray(leaf.read(action))
            if isinstance(read, _Scale):
                numbers.append(read.invert(np.ravel(value)))
            else:
                start = getattr(leaf.space, "start", 0)
                blocks += np.ravel(value - start).astype(np.int64).tolist()
        flat = np.zeros(self.size, np.float32)
        flat[: len(self.continuous)] = np.concatenate(numbers)
        flat[self._offsets[:-1] + np.array(blocks, np.int64)] = 1.0
        return flat


class _Scale(NamedTuple):
    """The entries of a box: value = middle + half * clipped in float64, kept inside the box; all (n,)."""

    space: spaces.Box
    entries: slice
    """of the flat action"""
    middle: npt.NDArray[np.float64]
    half: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    bounded: npt.NDArray[np.bool_]
    """on both sides"""

    @classmethod
    def of(cls, space: spaces.Box, entries: slice) -> _Scale:
        low, high = (np.ravel(end).astype(np.float64) for end in (space.low, space.high))
        below, above = low > -UNBOUNDED, high < UNBOUNDED
        bounded = below & above
        with np.errstate(invalid="ignore", over="ignore"):
            middle = np.where(bounded, low + (high - low) / 2, 0.0)
            middle = np.where(below & ~above, low + 1.0, np.where(above & ~below, high - 1.0, middle))
            half = np.where(bounded, (high - low) / 2, 1.0)
        return cls(space, entries, middle, half, low, high, bounded)

    def __call__(self, flat: npt.NDArray[np.float32]) -> Any:
        value = np.minimum(np.maximum(flat[self.entries], -1.0), 1.0) * self.half + self.middle
        value = np.minimum(np.maximum(value, self.low), self.high)
        if self.space.dtype.kind in "iu":
            return _whole(value, self)
        return value.astype(self.space.dtype).reshape(self.space.shape)

    def invert(self, value: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """The entry in [-1, 1] of each native value (n,)."""
        half = np.where(self.half == 0, 1.0, self.half)
        return np.clip((value.astype(np.float64) - self.middle) / half, -1.0, 1.0)


class _Choice(NamedTuple):
    """The one-hot blocks of a discrete space: the greatest entry of each is chosen."""

    space: Space
    edges: list[int]
    """where each block begins in the flat action, and the last one's end"""

    def __call__(self, flat: npt.NDArray[np.float32]) -> Any:
        picks = [int(flat[start:stop].argmax()) for start, stop in pairwise(self.edges)]
        if isinstance(self.space, spaces.Discrete):
            return int(self.space.start) + picks[0]
        chosen = np.array(picks, self.space.dtype).reshape(self.space.shape)
        return chosen + self.space.start if isinstance(self.space, spaces.MultiDiscrete) else chosen


def _whole(value: npt.NDArray[np.float64], scale: _Scale) -> Any:
    """Rounded values; at a bound the bound itself, which float64 can't always hold (2**63 - 1)."""
    space, value = scale.space, np.rint(value)
    inner = np.where((value > scale.low) & (value < scale.high), value, 0.0).astype(space.dtype)
    whole = np.where(
        value >= scale.high, np.ravel(space.high), np.where(value <= scale.low, np.ravel(space.low), inner)
    )
    return whole.reshape(space.shape)


def _range_used(owner: str, leaf: Leaf, scale: _Scale) -> str:
    entry = int(np.flatnonzero(~scale.bounded)[0])
    low, high = scale.middle[entry] - 1.0, scale.middle[entry] + 1.0
    return (
        f"{owner}: the action '{leaf.name}[{entry}]' has the bounds [{scale.low[entry]:g}, {scale.high[entry]:g}]; "
        f"[{low:g}, {high:g}] is used. Rescale it to finite bounds, for instance in a wrapper, to use more."
    )
