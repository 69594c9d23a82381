"""Gymnasium spaces as flat rows: observations to an image and a vector, flat actions to native ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from PIL import Image

from manyheads.errors import ManyheadsError

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Space = spaces.Space[Any]
Path = tuple[Any, ...]

SMALLEST_IMAGE = 16
"""A uint8 box with a side below this is no picture (a grid of codes, memory cells) but numbers."""


class Leaf(NamedTuple):
    """A space without parts, where it sits in a nested value, and its name."""

    path: Path
    space: Space
    name: str

    def read(self, value: Any) -> Any:
        for key in self.path:
            value = value[key]
        return value


def leaf_spaces(space: Space, root: str, path: Path = (), name: str = "") -> Iterator[Leaf]:
    """The parts of nested Dict and Tuple spaces in order, with dotted names; `root` where there is no key."""
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            yield from leaf_spaces(part, root, (*path, key), f"{name}.{key}" if name else str(key))
    elif isinstance(space, spaces.Tuple):
        for index, part in enumerate(space.spaces):
            yield from leaf_spaces(part, root, (*path, index), f"{name or root}.{index}")
    else:
        yield Leaf(path, space, name or root)


class ObservationFlattener:
    """Reads native observations as (image uint8 (H, W, C) | None, vector float32 (V,)).

    Discrete parts become one-hot. Pictures are uint8 boxes (H, W), (H, W, C), stacked (K, H, W) or
    (K, H, W, C); several are concatenated along channels, resized to `image_size` squares where it is given.
    """

    def __init__(self, space: Space, owner: str, image_size: int | None = None) -> None:
        self._owner, self._image_size = owner, image_size
        self._pictures: list[Leaf] = []
        self._parts: list[tuple[Leaf, slice]] = []
        names: list[str] = []
        sizes: list[tuple[int, int, int]] = []
        for leaf in leaf_spaces(space, "observation"):
            if is_picture(leaf.space):
                self._pictures.append(leaf)
                sizes.append(self._picture(leaf, np.zeros(leaf.space.shape or (), np.uint8)).shape)
                continue
            own = _vector_names(leaf, owner)
            self._parts.append((leaf, slice(len(names), len(names) + len(own))))
            names += own
        if len({size[:2] for size in sizes}) > 1:
            raise ManyheadsError(
                f"{owner} observes pictures of sizes {', '.join(str(size[:2]) for size in sizes)}. "
                "Give one image size for all."
            )
        self.names = tuple(names)
        self.image = (*sizes[0][:2], sum(size[2] for size in sizes)) if sizes else None
        self._plain = len(self._parts) == 1 and isinstance(self._parts[0][0].space, spaces.Box)

    def __call__(self, observation: Any) -> tuple[Pixels | None, Floats]:
        if self._plain:
            vector = np.array(self._parts[0][0].read(observation), np.float32).reshape(-1)
        else:
            vector = np.zeros(len(self.names), np.float32)
            for leaf, place in self._parts:
                _write(leaf.space, leaf.read(observation), vector[place])
        if len(vector) != len(self.names):
            raise ManyheadsError(f"{self._owner} gave {len(vector)} numbers where its space says {len(self.names)}.")
        if not np.isfinite(vector).all():
            wrong = int(np.flatnonzero(~np.isfinite(vector))[0])
            raise ManyheadsError(
                f"{self._owner}: the observation's place {self.names[wrong]!r} is {vector[wrong]}. "
                "Observations must be finite; the simulation may have become unstable."
            )
        if not self._pictures:
            return None, vector
        pictures = [self._picture(leaf, leaf.read(observation)) for leaf in self._pictures]
        return np.ascontiguousarray(np.concatenate(pictures, axis=-1) if len(pictures) > 1 else pictures[0]), vector

    def _picture(self, leaf: Leaf, value: Any) -> Pixels:
        picture = _channels_last(np.asarray(value, np.uint8))
        size = self._image_size
        if size is None or picture.shape[:2] == (size, size):
            return picture
        planes = [Image.fromarray(plane).resize((size, size), Image.Resampling.BILINEAR) for plane in _planes(picture)]
        return np.stack([np.asarray(plane) for plane in planes], axis=-1)


class ActionUnflattener:
    """Turns flat actions (A,) float32 into native ones: continuous places, then a one-hot block a choice.

    Continuous places are clipped to [-1, 1] here and nowhere else, then rescaled to the box if it is bounded.
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
                self.discrete += tuple((f"{leaf.name}.{i}", size) for i, size in enumerate(_choices(part)))
            else:
                raise _does_not_fit(owner, "actions", leaf)
        if not self.continuous and not self.discrete:
            raise ManyheadsError(f"{owner} has no actions: its action space is {space}.")
        self.size = len(self.continuous) + sum(size for _, size in self.discrete)
        self._offsets = len(self.continuous) + np.cumsum([0, *(size for _, size in self.discrete)])
        self._scales = [_scale(leaf.space) if isinstance(leaf.space, spaces.Box) else None for leaf in self._leaves]

    def __call__(self, action: npt.ArrayLike) -> Any:
        flat = np.asarray(action, np.float32)
        if flat.shape != (self.size,) or not np.isfinite(flat).all():
            raise ManyheadsError(f"{self._owner} takes {self.size} finite numbers as action, not {action!r}.")
        number = block = 0
        parts: dict[Path, Any] = {}
        for leaf, scale in zip(self._leaves, self._scales, strict=True):
            if scale is not None:
                size = len(scale.low)
                parts[leaf.path] = scale(flat[number : number + size], leaf.space)
                number += size
            else:
                count = 1 if isinstance(leaf.space, spaces.Discrete) else len(_choices(leaf.space))
                picks = [
                    int(flat[self._offsets[i] : self._offsets[i + 1]].argmax()) for i in range(block, block + count)
                ]
                parts[leaf.path] = _choose(leaf.space, picks)
                block += count
        return parts[()] if () in parts else _nest(self._space, parts)


class _Scale(NamedTuple):
    """Where a box's places lie: value = middle + half * clipped, kept inside the box."""

    middle: Floats
    half: Floats
    low: Floats
    high: Floats

    def __call__(self, flat: Floats, space: Space) -> Any:
        value = np.minimum(np.maximum(flat, -1.0), 1.0) * self.half + self.middle
        value = np.minimum(np.maximum(value, self.low), self.high)
        if np.issubdtype(space.dtype, np.integer):
            value = np.rint(value)
        return value.astype(space.dtype).reshape(space.shape)


def _scale(space: spaces.Box) -> _Scale:
    low, high = space.low.reshape(-1).astype(np.float64), space.high.reshape(-1).astype(np.float64)
    bounded = np.isfinite(low) & np.isfinite(high)
    # float32 bounds at the largest number stand for "unbounded" in many environments.
    bounded &= (np.abs(low) < 1e30) & (np.abs(high) < 1e30)
    with np.errstate(invalid="ignore", over="ignore"):
        middle = np.where(bounded, (low + high) / 2, 0.0)
        half = np.where(bounded, (high - low) / 2, 1.0)
    return _Scale(*(a.astype(np.float32) for a in (middle, half, low, high)))


def is_picture(space: Space) -> bool:
    """Whether a space holds pictures: a uint8 box whose height and width are `SMALLEST_IMAGE` or more."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) not in (2, 3, 4):
        return False
    height, width, _ = _channels_last(np.empty(space.shape, np.uint8)).shape
    return bool(min(height, width) >= SMALLEST_IMAGE)


def _channels_last(picture: Pixels) -> Pixels:
    if picture.ndim == 2:
        return picture[..., None]
    if picture.ndim == 4:
        return np.concatenate(list(picture), axis=-1)
    frames, _, width = picture.shape
    return np.moveaxis(picture, 0, -1) if frames < width else picture


def _planes(picture: Pixels) -> Iterator[Pixels]:
    return (np.ascontiguousarray(picture[..., c]) for c in range(picture.shape[-1]))


def _choices(space: Space) -> list[int]:
    if isinstance(space, spaces.MultiBinary):
        return [2] * int(np.prod(space.shape))
    assert isinstance(space, spaces.MultiDiscrete)
    return [int(n) for n in np.ravel(space.nvec)]


def _vector_names(leaf: Leaf, owner: str) -> list[str]:
    part = leaf.space
    if isinstance(part, spaces.Box | spaces.MultiBinary):
        return [f"{leaf.name}[{i}]" for i in range(int(np.prod(part.shape)))]
    if isinstance(part, spaces.Discrete):
        return [f"{leaf.name}[{i}]" for i in range(int(part.n))]
    if isinstance(part, spaces.MultiDiscrete):
        return [f"{leaf.name}.{i}[{k}]" for i, size in enumerate(_choices(part)) for k in range(size)]
    raise _does_not_fit(owner, "observations", leaf)


def _write(space: Space, value: Any, out: Floats) -> None:
    if isinstance(space, spaces.Discrete):
        out[int(value) - int(space.start)] = 1.0
    elif isinstance(space, spaces.MultiDiscrete):
        sizes = np.ravel(space.nvec)
        starts = np.cumsum(sizes) - sizes
        out[starts + np.ravel(value) - np.ravel(space.start)] = 1.0
    else:
        out[:] = np.reshape(value, -1)


def _choose(space: Space, picks: list[int]) -> Any:
    if isinstance(space, spaces.Discrete):
        return int(space.start) + picks[0]
    chosen = np.array(picks, space.dtype).reshape(space.shape)
    return chosen + space.start if isinstance(space, spaces.MultiDiscrete) else chosen


def _nest(space: Space, parts: dict[Path, Any], path: Path = ()) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _nest(part, parts, (*path, key)) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_nest(part, parts, (*path, index)) for index, part in enumerate(space.spaces))
    return parts[path]


def _does_not_fit(owner: str, what: str, leaf: Leaf) -> ManyheadsError:
    fit = (
        "Box, Discrete, MultiDiscrete and MultiBinary spaces fit, and Tuple and Dict of those; "
        "wrap the environment to give one of them"
    )
    return ManyheadsError(f"{owner}: {what} {leaf.name!r} are {leaf.space}, which does not fit a world. {fit}.")
