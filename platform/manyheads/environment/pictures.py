"""Which boxes hold pictures, and how they are read: uint8, channels last, of a size that a world takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from PIL import Image

from manyheads.environment.spaces import Space

Pixels = npt.NDArray[np.uint8]

SMALLEST_IMAGE = 16
"""A box with a side below this is not a picture (a grid of codes, memory cells) but numbers."""
MULTIPLE = 16
"""What a world's four stages halve to whole numbers: sides are resized to the nearest multiple."""


def is_picture(space: Space) -> bool:
    """Whether a box holds pictures: sides of `SMALLEST_IMAGE` or more, and values that are a picture's.

    These are uint8 boxes (H, W), (H, W, C), channel-first (C, H, W), and stacks (K, ...) of the latter two; and boxes
    of floats in [0, 1] or [0, 255] of these shapes with 1, 3 or 4 channels.
    """
    if not isinstance(space, spaces.Box) or len(space.shape) not in (2, 3, 4):
        return False
    height, width, _ = channels_last(np.empty(space.shape, np.uint8)).shape
    if min(height, width) < SMALLEST_IMAGE:
        return False
    return space.dtype == np.uint8 or _is_float_picture(space)


def _is_float_picture(space: spaces.Box) -> bool:
    if space.dtype.kind != "f" or len(space.shape) < 3:
        return False
    shape = space.shape[-3:]
    channels = shape[0] if _channels_first(shape) else shape[-1]
    return channels in (1, 3, 4) and not space.low.any() and bool((space.high == 1).all() or (space.high == 255).all())


def _channels_first(shape: tuple[int, ...]) -> bool:
    """Whether (a, b, c) is (C, H, W) rather than (H, W, C): channels are fewer than pixels."""
    return shape[0] < shape[2]


def channels_last(picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A picture as (H, W, C); the channels of stacked frames follow one another."""
    if picture.ndim == 2:
        return picture[..., None]
    if _channels_first(picture.shape[-3:]):
        picture = np.moveaxis(picture, -3, -1)
    if picture.ndim == 4:
        frames, height, width, channels = picture.shape
        return np.moveaxis(picture, 0, 2).reshape(height, width, frames * channels)
    return picture


class PictureReader:
    """Reads the values of a picture's box as (H, W, C) uint8; calling it raises ValueError where pixels don't fit.

    Sides become `size` where it is given, else the nearest multiples of `MULTIPLE`.
    """

    def __init__(self, space: spaces.Box, size: int | None = None) -> None:
        self._declared = space.shape
        self.native: tuple[int, int, int] = channels_last(np.empty(space.shape, np.uint8)).shape
        height, width, channels = self.native
        self.shape = (size or _nearest(height), size or _nearest(width), channels)
        self.is_resized = self.native != self.shape
        self._scale = 255.0 / float(space.high.flat[0]) if space.dtype.kind == "f" else None

    @property
    def space(self) -> spaces.Box:
        """What calling it gives."""
        return spaces.Box(0, 255, self.shape, np.uint8)

    def __call__(self, value: npt.NDArray[Any]) -> Pixels:
        if value.shape != self._declared:
            raise ValueError(f"expected the shape {self._declared}, not {value.shape}")
        picture = channels_last(_to_bytes(value, self._scale))
        return _resize(picture, self.shape[:2]) if self.is_resized else picture


def _nearest(side: int) -> int:
    return max(MULTIPLE, (side + MULTIPLE // 2) // MULTIPLE * MULTIPLE)


def _to_bytes(value: npt.NDArray[Any], scale: float | None) -> Pixels:
    """Pixels as uint8: whole numbers as they are, floats in 256 steps."""
    if value.dtype == np.uint8 and scale is None:
        return value
    if scale is None and value.dtype.kind not in "iu":
        raise ValueError(f"expected whole numbers from 0 to 255, not {value.dtype}")
    if scale is not None and value.dtype.kind not in "biuf":
        raise ValueError(f"expected numbers, not {value.dtype}")
    pixels = value if scale is None else np.rint(value * scale)
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= 255):
        largest = 255 if scale is None else 255 / scale
        raise ValueError(f"expected 0 to {largest:g}, not {value.min():g} to {value.max():g}")
    return pixels.astype(np.uint8)


def _resize(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """Bilinear over the area that a new pixel covers, a plane at a time."""
    height, width = size
    if picture.shape[-1] == 3:
        return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
    planes = (Image.fromarray(np.ascontiguousarray(picture[..., c])) for c in range(picture.shape[-1]))
    return np.stack([np.asarray(p.resize((width, height), Image.Resampling.BILINEAR)) for p in planes], axis=-1)
