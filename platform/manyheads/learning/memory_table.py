"""What a reward source remembers along recorded episodes: a side table, computed from the rows and never stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from manyheads.experience.replay import Replay
from manyheads.rewards.contract import RewardSource

READ = 4096
"""rows that are computed at once"""


@dataclass
class _Column:
    """The memory (n, M) after each row of one stream from row `start` on."""

    start: int
    memory: npt.NDArray[np.float32]
    count: int = 0

    @property
    def stop(self) -> int:
        return self.start + self.count


class MemoryTable:
    """The memory of one source after each row of each stream, computed up to the row that is asked for.

    Where an episode's beginning was dropped before its rows were computed, it counts as beginning with the first row
    that is left.
    """

    def __init__(self, source: RewardSource, replay: Replay) -> None:
        self.source, self.replay = source, replay
        self._columns: dict[int, _Column] = {}

    def before(self, stream: int, row: int) -> npt.NDArray[np.float32] | None:
        """The memory (M,) before a row of a stream; None where nothing before it is known."""
        column = self._columns.setdefault(stream, _Column(0, np.zeros((0, self.source.memory_size), np.float32)))
        while column.stop < row and self._extend(stream, column):
            pass
        return column.memory[row - 1 - column.start] if column.start < row <= column.stop else None

    def _extend(self, stream: int, column: _Column) -> bool:
        """Computes the next rows of a stream; False where there are none."""
        rows = self.replay.signal_rows(stream, column.stop, READ)
        if not len(rows.is_first):
            return False
        memory = column.memory[column.count - 1] if column.count and rows.start == column.stop else None
        if memory is None:
            column.start, column.count = rows.start, 0
        signals = torch.from_numpy(rows.signals.astype(np.float32))
        after = self.source.unroll(
            {name: signals[:, None, rows.instance.signals.index(name)] for name in self.source.signals},
            torch.from_numpy(rows.is_first)[:, None],
            None if memory is None else torch.from_numpy(memory.copy())[None],
        ).memory[:, 0]
        self._append(column, after.numpy(), stream)
        return True

    def _append(self, column: _Column, after: npt.NDArray[np.float32], stream: int) -> None:
        """Adds rows, in twice the room where there is none; what replay has dropped makes room first."""
        if column.count + len(after) > len(column.memory):
            dropped = self.replay.signal_rows(stream, column.start, 0).start - column.start
            kept = column.memory[dropped : column.count]
            column.memory = np.zeros((2 * (len(kept) + len(after)), kept.shape[1]), np.float32)
            column.memory[: len(kept)] = kept
            column.start, column.count = column.start + dropped, len(kept)
        column.memory[column.count : column.count + len(after)] = after
        column.count += len(after)
