"""Rows as they are stored: fixed-width records of what an environment has, fitted to a world's interface when read."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from manyheads.environment.adapter import LayoutMap
from manyheads.environment.layout import SpaceLayout

Records = npt.NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """One row of each of N streams: what was seen, what was measured, and the action then chosen."""

    image: npt.NDArray[np.uint8] | None
    """(N, H, W, C), None where the interface has no image"""
    vector: npt.NDArray[np.float32]
    """(N, V)"""
    action: npt.NDArray[np.float32]
    """(N, A), unclipped as chosen"""
    signals: npt.NDArray[np.float64]
    """(N, S); a stream takes as many columns as its instance has signals"""
    is_first: npt.NDArray[np.bool_]
    is_last: npt.NDArray[np.bool_]
    is_terminal: npt.NDArray[np.bool_]
    episode: npt.NDArray[np.int64]
    """(N,) from `Replay.new_episode`"""
    index: npt.NDArray[np.int64]
    """(N,) position in the episode"""


class RecordFormat:
    """How rows of a world's interface are stored as records of the entries of `layout` alone, and read back."""

    def __init__(self, interface: SpaceLayout, layout: SpaceLayout, signals: int) -> None:
        self.layout, self.record = layout, record_type(layout, signals)
        self._fits = layout == interface
        self._layout_map = LayoutMap(interface, layout)

    def pack(self, rows: Rows, chosen: Sequence[int]) -> Records:
        """The `chosen` ones of N rows as records, checksums included."""
        at = slice(None) if len(chosen) == len(rows.is_first) else list(chosen)
        records = np.zeros(len(chosen), self.record)
        for name in ("index", "episode", "is_first", "is_last", "is_terminal"):
            records[name] = getattr(rows, name)[at]
        records["signals"] = rows.signals[at, : records["signals"].shape[1]]
        vector, action = rows.vector[at], rows.action[at]
        records["vector"] = vector if self._fits else self._layout_map.unmap_vector(vector)
        records["action"] = action if self._fits else self._layout_map.unmap_action(action)
        if self.layout.image is not None and rows.image is not None:
            records["image"] = rows.image[at][..., : self.layout.image[2]]
        records["check"] = checksums(records)
        return records

    def read(self, records: Records, field: str, out: npt.NDArray[Any]) -> None:
        """Copies a field of records (T,) into `out` (T, ...) of the interface; entries that they lack stay as they
        are."""
        values = records[field]
        if self._fits or field not in ("vector", "action", "image"):
            out[:] = values
        elif field == "vector":
            self._layout_map.map_vector(values, out)
        elif field == "action":
            self._layout_map.map_action(values, out)
        else:
            out[..., : values.shape[-1]] = values


@cache
def record_type(layout: SpaceLayout, signals: int) -> np.dtype[Any]:
    """The fixed-width record of one row; `check` is the CRC-32 of everything behind it."""
    fields: list[Any] = [
        ("check", "<u4"),
        ("index", "<i4"),
        ("episode", "<i8"),
        ("signals", "<f8", (signals,)),
        ("vector", "<f4", (len(layout.vector),)),
        ("action", "<f4", (layout.action_size,)),
        ("is_first", "?"),
        ("is_last", "?"),
        ("is_terminal", "?"),
    ]
    if layout.image is not None:
        fields.append(("image", "u1", layout.image))
    return np.dtype(fields, align=True)


def checksums(records: Records) -> list[int]:
    """What belongs into `check` of each of the records (N,)."""
    data, width = records.view(np.uint8).data, records.dtype.itemsize
    return [zlib.crc32(data[at + 4 : at + width]) for at in range(0, len(data), width)]
