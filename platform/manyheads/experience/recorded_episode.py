"""One recorded episode, read from replay when asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from manyheads.environment.layout import SpaceLayout
from manyheads.experience.batch import WindowIndex
from manyheads.experience.latent_table import LatentLayout
from manyheads.experience.stream import RecordedInstance, Stream

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Episode:
    """Rows `start` to `stop` of a stream; each array is a copy (T, ..), read at every access."""

    stream: Stream = field(repr=False)
    interface: SpaceLayout = field(repr=False)
    layout: LatentLayout = field(repr=False)
    id: int
    start: int
    stop: int
    is_open: bool
    """it has not ended: it is still running, or was abandoned"""

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def instance(self) -> RecordedInstance:
        return self.stream.instance

    @property
    def image(self) -> npt.NDArray[np.uint8] | None:
        """(T, H, W, C), None where the interface has no image"""
        if self.interface.image is None:
            return None
        shape = (len(self), *self.interface.image)
        return self._read("image", shape, np.uint8) if self.stream.has("image") else np.zeros(shape, np.uint8)

    @property
    def vector(self) -> Floats:
        """(T, V)"""
        return self._read("vector", (len(self), len(self.interface.vector)), np.float32)

    @property
    def action(self) -> Floats:
        """(T, A), the action chosen in each row"""
        return self._read("action", (len(self), self.interface.action_size), np.float32)

    @property
    def signals(self) -> dict[str, npt.NDArray[np.float64]]:
        """Each signal (T,) by name"""
        names = self.instance.signals
        return dict(zip(names, self._read("signals", (len(self), len(names)), np.float64).T, strict=True))

    @property
    def is_first(self) -> Flags:
        return self._read("is_first", (len(self),), np.bool_)

    @property
    def is_last(self) -> Flags:
        return self._read("is_last", (len(self),), np.bool_)

    @property
    def is_terminal(self) -> Flags:
        return self._read("is_terminal", (len(self),), np.bool_)

    @property
    def window_index(self) -> WindowIndex:
        """Where its latents go, for `Replay.write_latents` of a (1, T, ..) batch."""
        missing = ~self.latents[2][:1]
        return WindowIndex(np.array([self.stream.number]), np.array([self.start]), len(self), missing)

    @property
    def latents(self) -> tuple[Floats, Floats, Flags]:
        """deter (T, D), stoch (T, G, C), and which rows have them stored (the others are zeros)"""
        records = self.stream.read_latents(self.start, self.stop)
        return *self.layout.decode(records), self.layout.usable(records)

    def _read(self, name: str, shape: tuple[int, ...], kind: Any) -> npt.NDArray[Any]:
        out = np.zeros(shape, kind)
        self.stream.read(name, self.start, self.stop, out)
        return out
