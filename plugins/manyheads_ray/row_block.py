"""Rows of several steps as they travel: gathered where environments step, stored where the replay is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from manyheads.training import FinishedEpisode, RecordedInstance, ReplaySink, Rows

if TYPE_CHECKING:
    from manyheads.experience.replay import Replay


@dataclass(frozen=True)
class RowBlock:
    """T successive rows of each of N environments. Blocks of one collector are stored in order, those of several in any
    order: each environment has its own stream, and numbers of episodes do not depend on it."""

    version: int
    """of the weights that acted"""
    began: bool
    """whether every environment begins a new episode, what was open before being lost"""
    rows: Rows
    """of arrays (T, N, ...)"""
    deter: npt.NDArray[np.float32]
    """(T, N, D)"""
    stoch: npt.NDArray[np.float32]
    """(T, N, G, C)"""
    ends: tuple[tuple[int, int], ...]
    """(t, n): environment n failed, and its episode ends before row t"""
    finished: tuple[FinishedEpisode, ...]
    failures: tuple[str, ...]

    def store(self, replay: Replay, streams: Sequence[int]) -> int:
        """Adds the rows to the N streams; returns how many they are."""
        if self.began:
            for stream in streams:
                replay.end_episode(stream)
        steps = len(self.rows.vector)
        for t in range(steps):
            for at, env in self.ends:
                if at == t:
                    replay.end_episode(streams[env])
            replay.add(streams, self._row(t), np.array(self.deter[t]), np.array(self.stoch[t]))
        for at, env in self.ends:
            if at == steps:
                replay.end_episode(streams[env])
        return steps * len(streams)

    def _row(self, t: int) -> Rows:
        return _mapped(self.rows, lambda x: np.array(x[t]))


class BlockSink(ReplaySink):
    """Gathers the rows that a collector writes, until a block takes them."""

    def __init__(self, first_episode: int, stride: int) -> None:
        """Episodes are numbered from `first_episode` on in steps of `stride`, so that collectors share no number."""
        self.next_episode, self.stride = first_episode, stride
        self.instances: list[RecordedInstance] = []
        self._rows: list[tuple[Rows, Any, Any]] = []
        self._ends: list[tuple[int, int]] = []

    def open_stream(self, instance: RecordedInstance) -> int:
        self.instances.append(instance)
        return len(self.instances) - 1

    def new_episode(self) -> int:
        self.next_episode += self.stride
        return self.next_episode - self.stride

    def add(self, streams: Sequence[int], rows: Rows, deter: Any = None, stoch: Any = None) -> None:
        self._rows.append((_mapped(rows, np.array), deter, stoch))

    def end_episode(self, stream: int) -> None:
        self._ends.append((len(self._rows), stream))

    def take(self, version: int, began: bool, finished: Sequence[FinishedEpisode], failures: Sequence[str]) -> RowBlock:
        """The rows since the last block."""
        rows, deter, stoch = zip(*self._rows, strict=True)
        stacked = {
            name: None if x is None else np.stack([getattr(r, name) for r in rows]) for name, x in _parts(rows[0])
        }
        ends, self._rows, self._ends = tuple(self._ends), [], []
        stacked_latents = np.stack(deter), np.stack(stoch)
        return RowBlock(version, began, _rows(stacked), *stacked_latents, ends, tuple(finished), tuple(failures))


def _parts(rows: Rows) -> Iterator[tuple[str, Any]]:
    return ((field.name, getattr(rows, field.name)) for field in fields(rows))


def _rows(parts: Mapping[str, Any]) -> Rows:
    return Rows(**parts)


def _mapped(rows: Rows, change: Callable[[Any], Any]) -> Rows:
    return _rows({name: None if x is None else change(x) for name, x in _parts(rows)})
