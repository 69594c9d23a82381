"""Flat rows back to native observations: what a decoded or recorded row looks like in its environment's own space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from manyheads.environment.encodings import Words
from manyheads.environment.observations import ObservationFlattener
from manyheads.environment.pictures import Pixels
from manyheads.environment.spaces import Floats, Path, Space, nest


class ObservationUnflattener:
    """Turns (image, vector) into the observation of `space`, the native one without what rows don't tell.

    Left out are keys that are dropped and texts, of which rows have hashes. A picture stays as the world sees it, where
    that is not the native form: uint8, channels last, resized. Numbers are kept inside their bounds unless `clip` is
    false, as for recorded rows, which are to stay as they are.
    """

    def __init__(self, observe: ObservationFlattener, clip: bool = True) -> None:
        self._clip = clip
        self._native, self._parts = (
            observe.native,
            [part for part in observe.parts if not isinstance(part.encoding, Words)],
        )
        self._pictures, leaves = observe.pictures, {part.leaf.path: part.leaf.space for part in self._parts}
        for picture in self._pictures:
            leaves[picture.leaf.path] = picture.read.space
        self.space: Space = leaves[()] if () in leaves else _rebuilt(self._native, leaves)

    def __call__(self, image: Pixels | None, vector: Floats) -> Any:
        """The observation that an image (H, W, C) and a vector (V,) show."""
        values: dict[Path, Any] = {
            part.leaf.path: part.encoding.read(vector[part.place], self._clip) for part in self._parts
        }
        channel = 0
        for picture in self._pictures:
            assert image is not None
            count = picture.read.shape[-1]
            values[picture.leaf.path] = np.ascontiguousarray(image[..., channel : channel + count])
            channel += count
        return values[()] if () in values else nest(self._native, values)


def _rebuilt(space: Space, leaves: Mapping[Path, Space], path: Path = ()) -> Any:
    """The nested space of those leaves alone; None where there are none."""
    if isinstance(space, spaces.Dict):
        inner = {key: _rebuilt(part, leaves, (*path, key)) for key, part in space.spaces.items()}
        kept = {key: part for key, part in inner.items() if part is not None}
        return spaces.Dict(kept) if kept else None
    if isinstance(space, spaces.Tuple):
        parts = [_rebuilt(part, leaves, (*path, index)) for index, part in enumerate(space.spaces)]
        kept_parts = [part for part in parts if part is not None]
        return spaces.Tuple(kept_parts) if kept_parts else None
    return leaves.get(path)
