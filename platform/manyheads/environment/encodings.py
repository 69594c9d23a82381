"""How each kind of space becomes entries of the vector; a value that does not fit its space is refused."""

from __future__ import annotations

from operator import index
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from manyheads.environment.contract import KeyRule
from manyheads.environment.notice import note_once
from manyheads.environment.spaces import Floats, Leaf, unsupported
from manyheads.environment.text import TEXT_SIZE, encode_text, is_text
from manyheads.errors import ManyheadsError

MANY = 4096
"""A single part with so many numbers is said: it was probably meant to be a picture."""
LARGEST = np.finfo(np.float32).max


class Encoding(Protocol):
    """One leaf's entries of the vector."""

    names: tuple[str, ...]
    low: Floats
    high: Floats
    """(n,) bounds, float32's largest numbers where there are none"""

    def write(self, value: Any, out: Floats) -> None:
        """Writes a native value into `out` (n,); raises ValueError or TypeError where it does not fit the space."""

    def read(self, entries: Floats, clip: bool = True) -> Any:
        """The native value nearest to entries (n,), within its bounds if clipped; None where entries don't tell it."""


def encode(leaf: Leaf, rule: KeyRule | None, owner: str) -> Encoding:
    """The encoding of a leaf that is not a picture and not dropped."""
    space, name = leaf.space, leaf.name
    if is_text(space):
        if rule == "one_hot":
            raise ManyheadsError(f"{owner}: {name!r} is declared one-hot, but is text. Declare 'text' or 'drop'.")
        if rule is None:
            note_once(
                f"{owner}: {name!r} is text, read as {TEXT_SIZE} numbers (its words, hashed). "
                f"`observation_keys={{{name!r}: 'text'}}` declares that, 'drop' leaves it out."
            )
        return Words(leaf)
    if rule == "text":
        raise ManyheadsError(f"{owner}: {name!r} is declared as text, but its space is {brief_space(space)}.")
    if isinstance(space, spaces.Discrete):
        return Choice(leaf)
    if isinstance(space, spaces.MultiDiscrete):
        return Choices(leaf, np.ravel(space.start), np.ravel(space.nvec))
    if isinstance(space, spaces.Box) and rule == "one_hot":
        if space.dtype.kind not in "iu":
            raise ManyheadsError(f"{owner}: {name!r} is declared one-hot, but holds {space.dtype}, no whole numbers.")
        low = np.ravel(space.low).astype(np.int64)
        return Choices(leaf, low, np.ravel(space.high).astype(np.int64) - low + 1)
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        numbers = Numbers(leaf)
        if len(numbers.names) >= MANY:
            note_once(
                f"{owner}: {name!r} is read as {len(numbers.names)} numbers. Pictures are uint8 boxes (H, W), "
                "(H, W, C), (C, H, W) or stacks (K, ...) of these, and floats in [0, 1] with 1, 3 or 4 channels."
            )
        return numbers
    raise unsupported(owner, "observations", leaf)


class Numbers:
    """A Box or MultiBinary: its numbers in order, in their units."""

    def __init__(self, leaf: Leaf) -> None:
        space = self.space = leaf.space
        assert space.shape is not None
        self.shape, self.whole = space.shape, space.dtype is not None and space.dtype.kind in "iub"
        self.binary = isinstance(space, spaces.MultiBinary)
        self.names = tuple(f"{leaf.name}[{i}]" for i in range(int(np.prod(self.shape))))
        low, high = (0, 1) if not isinstance(space, spaces.Box) else (np.ravel(space.low), np.ravel(space.high))
        self.low = np.broadcast_to(np.maximum(low, -LARGEST), len(self.names)).astype(np.float32)
        self.high = np.broadcast_to(np.minimum(high, LARGEST), len(self.names)).astype(np.float32)

    def check(self, value: Any) -> npt.NDArray[Any]:
        """The value as an array of the space's shape."""
        array = np.asarray(value)
        if array.shape != self.shape:
            raise ValueError(f"expected the shape {self.shape}, not {array.shape}")
        if array.dtype.kind not in "biuf":
            raise TypeError(f"expected numbers, not {array.dtype}")
        if self.whole and array.dtype.kind == "f" and not (array == np.rint(array)).all():
            raise ValueError("expected whole numbers")
        if self.binary and not ((array == 0) | (array == 1)).all():
            raise ValueError("expected 0 or 1")
        return array

    def write(self, value: Any, out: Floats) -> None:
        out[:] = self.check(value).reshape(-1)

    def read(self, entries: Floats, clip: bool = True) -> Any:
        if not isinstance(self.space, spaces.Box):
            return (entries >= 0.5).astype(self.space.dtype).reshape(self.shape)
        low, high = np.ravel(self.space.low), np.ravel(self.space.high)
        value = np.rint(entries) if self.whole else entries
        return (np.clip(value, low, high) if clip else value).astype(self.space.dtype).reshape(self.shape)


class Choice:
    """A Discrete space as one-hot."""

    def __init__(self, leaf: Leaf) -> None:
        assert isinstance(leaf.space, spaces.Discrete)
        self.start, self.size = int(leaf.space.start), int(leaf.space.n)
        self.names = tuple(f"{leaf.name}[{i}]" for i in range(self.size))
        self.low, self.high = np.zeros(self.size, np.float32), np.ones(self.size, np.float32)

    def write(self, value: Any, out: Floats) -> None:
        choice = index(value) - self.start
        if not 0 <= choice < self.size:
            raise ValueError(f"expected {self.start} to {self.start + self.size - 1}")
        out[choice] = 1.0

    def read(self, entries: Floats, clip: bool = True) -> Any:
        return np.int64(self.start + int(entries.argmax()))


class Choices:
    """Whole numbers from `start`, `sizes` choices each, as one-hot blocks: a MultiDiscrete, or a Box declared so."""

    def __init__(self, leaf: Leaf, start: npt.NDArray[Any], sizes: npt.NDArray[Any]) -> None:
        self.shape, self.start, self.sizes, self.dtype = leaf.space.shape, start, sizes, leaf.space.dtype
        self.names = tuple(f"{leaf.name}.{i}[{k}]" for i, size in enumerate(sizes.tolist()) for k in range(size))
        self.low, self.high = (np.full(len(self.names), bound, np.float32) for bound in (0, 1))
        self._offsets = np.cumsum(sizes) - sizes

    def write(self, value: Any, out: Floats) -> None:
        array = np.asarray(value)
        if array.shape != self.shape:
            raise ValueError(f"expected the shape {self.shape}, not {array.shape}")
        if array.dtype.kind not in "biu":
            raise TypeError(f"expected whole numbers, not {array.dtype}")
        choices = array.reshape(-1).astype(np.int64) - self.start
        if not ((choices >= 0) & (choices < self.sizes)).all():
            raise ValueError(f"expected {self.start.tolist()} to {(self.start + self.sizes - 1).tolist()}")
        out[self._offsets + choices] = 1.0

    def read(self, entries: Floats, clip: bool = True) -> Any:
        picks = [int(block.argmax()) for block in np.split(entries, self._offsets[1:])]
        return (self.start + picks).astype(self.dtype).reshape(self.shape)


class Words:
    """A text as hashed words."""

    def __init__(self, leaf: Leaf) -> None:
        self.space = leaf.space
        self.names = tuple(f"{leaf.name}[{i}]" for i in range(TEXT_SIZE))
        self.low, self.high = (np.full(TEXT_SIZE, bound, np.float32) for bound in (-LARGEST, LARGEST))

    def write(self, value: Any, out: Floats) -> None:
        if not isinstance(value, str):
            raise TypeError("expected a text")
        if isinstance(self.space, spaces.Text) and not self.space.contains(value):
            raise ValueError("expected a text of the declared length and characters")
        out[:] = encode_text(value)

    def read(self, entries: Floats, clip: bool = True) -> None:
        """None: words can't be told from their hashes."""


def brief_space(space: spaces.Space[Any]) -> str:
    """A space in a few words: `Box(0, 255, (84, 84, 3), uint8)`, also where its bounds fill a page."""
    if not isinstance(space, spaces.Box):
        return str(space)
    ends = (np.unique(end) for end in (space.low, space.high))
    low, high = (f"{end[0]:g}" if len(end) == 1 else "..." for end in ends)
    return f"Box({low}, {high}, {space.shape}, {space.dtype})"


def brief_value(value: Any) -> str:
    """What was given, in a few words: a short value itself, a long one by its shape and type."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        return f"a {type(value).__name__}"
    if array.size > 8:
        return f"an array {array.shape} of {array.dtype}"
    return f"{array.tolist()!r} ({array.dtype})" if isinstance(value, np.ndarray) else f"{value!r:.80}"
