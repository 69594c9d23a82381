"""Native observations of any Gymnasium space as an image and a vector, each checked against its space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from manyheads.environment.contract import KeyRule
from manyheads.environment.encodings import LARGEST, Encoding, brief_space, brief_value, encode
from manyheads.environment.notice import note_once, warn_once
from manyheads.environment.pictures import PictureReader, Pixels, is_picture
from manyheads.environment.spaces import Floats, Leaf, Path, Space, leaf_spaces, require_distinct
from manyheads.errors import ManyheadsError, unknown


class Part(NamedTuple):
    """A leaf of the space and its entries of the vector."""

    leaf: Leaf
    encoding: Encoding
    place: slice


class Picture(NamedTuple):
    """A leaf of the space whose picture is part of the image."""

    leaf: Leaf
    read: PictureReader


class ObservationFlattener:
    """Reads native observations as (image uint8 (H, W, C) | None, vector float32 (V,)).

    Discrete parts become one-hot, texts hashed words. Pictures (`pictures.is_picture`) are resized to `image_size`
    squares, or else to sides that a world takes; several are concatenated along channels. `keys` declares which parts
    are dropped, coded one-hot or read as text.

    An observation that does not fit its space is refused. Numbers outside finite bounds are used as they are, counted
    in `outside` and said once for each part of the observation.
    """

    def __init__(
        self, space: Space, owner: str, image_size: int | None = None, keys: Mapping[str, KeyRule] | None = None
    ) -> None:
        self._owner = owner
        self.native = space
        self._containers = list(_containers(space))
        self.pictures: list[Picture] = []
        self.parts: list[Part] = []
        self.outside: Counter[str] = Counter()
        """how many rows held each entry outside its bounds"""
        names: list[str] = []
        for leaf, rule in _ruled([*leaf_spaces(space, "observation")], keys or {}, owner):
            if rule == "drop":
                continue
            if rule is None and is_picture(leaf.space):
                self.pictures.append(Picture(leaf, self._reader(leaf, image_size)))
                continue
            encoding = encode(leaf, rule, owner)
            self.parts.append(Part(leaf, encoding, slice(len(names), len(names) + len(encoding.names))))
            names += encoding.names
        require_distinct(names, owner, "observations")
        if not names and not self.pictures:
            raise ManyheadsError(f"{owner} observes nothing: its observation space is {space}.")
        self.names = tuple(names)
        self.image = self._image_shape()
        none = np.zeros(0, np.float32)
        self._low = np.concatenate([none, *(part.encoding.low for part in self.parts)])
        self._high = np.concatenate([none, *(part.encoding.high for part in self.parts)])

    @property
    def bounds(self) -> tuple[Floats, Floats]:
        """The least and the greatest value of each entry of the vector, (V,) each."""
        return self._low, self._high

    def __call__(self, observation: Any) -> tuple[Pixels | None, Floats]:
        vector = np.zeros(len(self.names), np.float32)
        image = self.write(observation, vector)
        self.check(vector)
        return image, vector

    def write(self, observation: Any, vector: Floats) -> Pixels | None:
        """Writes the entries into `vector` (V,), which holds zeros, for `check` to look at; returns the image."""
        for path, keys in self._containers:
            self._require_keys(path, keys, observation)
        for leaf, encoding, place in self.parts:
            value = leaf.read(observation)
            try:
                encoding.write(value, vector[place])
            except (TypeError, ValueError) as error:
                raise self._refused(leaf, value, error) from None
        if not self.pictures:
            return None
        pictures = [self._picture(leaf, read, leaf.read(observation)) for leaf, read in self.pictures]
        return np.ascontiguousarray(np.concatenate(pictures, axis=-1) if len(pictures) > 1 else pictures[0])

    def check(self, vector: Floats) -> None:
        """Refuses entries (V,) that are not finite; notes those outside their bounds."""
        inside = (vector >= self._low) & (vector <= self._high)
        if not inside.all():
            self._note_outside(vector, np.flatnonzero(~inside).tolist())

    def _picture(self, leaf: Leaf, read: PictureReader, value: Any) -> Pixels:
        try:
            return read(np.asarray(value))
        except (TypeError, ValueError) as error:
            raise self._refused(leaf, value, error) from None

    def _reader(self, leaf: Leaf, image_size: int | None) -> PictureReader:
        assert isinstance(leaf.space, spaces.Box)
        reader = PictureReader(leaf.space, image_size)
        if leaf.space.dtype != np.uint8:
            note_once(f"{self._owner}: {leaf.name!r} is read as a picture; its floats are rounded to 256 steps.")
        if reader.is_resized and image_size is None:
            (height, width, _), (new_height, new_width, _) = reader.native, reader.shape
            note_once(
                f"{self._owner}: pictures {leaf.name!r} of {height} x {width} pixels are resized to {new_height} x "
                f"{new_width}: a world takes multiples of 16. Where there is an option image_size, it sets the side."
            )
        return reader

    def _image_shape(self) -> tuple[int, int, int] | None:
        shapes = [read.shape for _, read in self.pictures]
        if len({shape[:2] for shape in shapes}) > 1:
            sizes = ", ".join(str(read.native[:2]) for _, read in self.pictures)
            raise ManyheadsError(f"{self._owner} observes pictures of sizes {sizes}. Give one image size for all.")
        return (*shapes[0][:2], sum(shape[2] for shape in shapes)) if shapes else None

    def _require_keys(self, path: Path, keys: frozenset[Any] | int, observation: Any) -> None:
        """Whether a Dict has its keys and no others, or a Tuple its number of parts."""
        value = observation
        for key in path:
            value = value[key]
        if isinstance(keys, int):
            if isinstance(value, tuple | list) and len(value) == keys:
                return
            problem = f"is {brief_value(value)}; expected a tuple of {keys} parts"
        elif not isinstance(value, Mapping):
            problem = f"is {brief_value(value)}; expected a mapping with the keys {_listed(keys)}"
        elif value.keys() != keys:
            lacks, extra = _listed(keys - value.keys()), _listed(value.keys() - keys)
            problem = f"lacks {lacks}" if lacks else f"has {extra}, which its space does not declare"
        else:
            return
        where = f"the observation {'.'.join(map(str, path))!r}" if path else "the observation"
        raise ManyheadsError(f"{self._owner}: {where} {problem}.")

    def _refused(self, leaf: Leaf, value: Any, error: Exception) -> ManyheadsError:
        return ManyheadsError(
            f"{self._owner}: the observation {leaf.name!r} is {brief_value(value)}, outside its space "
            f"{brief_space(leaf.space)}: {error}. Give what the space declares, or declare what is given."
        )

    def _note_outside(self, vector: Floats, entries: list[int]) -> None:
        """Refuses what is not finite; counts what is outside its bounds, and says it of the first entry of a part."""
        for entry in entries:
            if not np.isfinite(vector[entry]):
                raise ManyheadsError(
                    f"{self._owner}: the observation's entry {self.names[entry]!r} is {vector[entry]}. "
                    f"Observations must be finite, and at most {LARGEST:.1e}; the simulation may have become unstable."
                )
        known = {_part(name) for name in self.outside}
        self.outside.update(self.names[entry] for entry in entries)
        first = {_part(self.names[entry]): entry for entry in reversed(entries)}
        for part in sorted(first.keys() - known):
            name, low, high = self.names[first[part]], self._low[first[part]], self._high[first[part]]
            others = f"; others of {part!r} that do are not named" if name != part else ""
            warn_once(
                f"{self._owner}: the observation's entry {name!r} leaves its bounds [{low:g}, {high:g}]. "
                f"It is used as it is{others}.",
                about=f"bounds of {part} of {self._owner}",
            )


def _part(name: str) -> str:
    """The part of an observation that an entry belongs to: `observation[82]` is of `observation`."""
    return name.partition("[")[0]


def _containers(space: Space, path: Path = ()) -> Iterator[tuple[Path, frozenset[Any] | int]]:
    """Where a nested space has parts: the path, and the keys (Dict) or the number of parts (Tuple)."""
    if isinstance(space, spaces.Dict):
        yield path, frozenset(space.spaces)
        for key, part in space.spaces.items():
            yield from _containers(part, (*path, key))
    elif isinstance(space, spaces.Tuple):
        yield path, len(space.spaces)
        for position, part in enumerate(space.spaces):
            yield from _containers(part, (*path, position))


def _ruled(leaves: list[Leaf], keys: Mapping[str, KeyRule], owner: str) -> Iterator[tuple[Leaf, KeyRule | None]]:
    """Each leaf with the rule declared for its name, or for a key that holds it."""
    for key in keys:
        if not any(f"{leaf.name}.".startswith(f"{key}.") for leaf in leaves):
            raise unknown(f"observation key of {owner}", key, [leaf.name for leaf in leaves])
    for leaf in leaves:
        yield leaf, next((rule for key, rule in keys.items() if f"{leaf.name}.".startswith(f"{key}.")), None)


def _listed(keys: Any) -> str:
    return ", ".join(sorted(map(repr, keys)))
