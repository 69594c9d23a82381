"""Recorded rows of a world, as the commands that look at rewards need them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyheads.environment.contract import Instance
from manyheads.errors import ManyheadsError

if TYPE_CHECKING:
    from manyheads.experience.recorded_episode import Episode


class RecordedRows(NamedTuple):
    """Rows (T,) of whole episodes, one after the other."""

    signals: dict[str, NDArray[np.float64]]
    is_first: NDArray[np.bool_]
    episode: NDArray[np.int64]
    step: NDArray[np.int64]
    """position in the episode"""

    def episodes(self) -> Iterator[slice]:
        """The rows of each episode."""
        edges = [*np.flatnonzero(self.is_first).tolist(), len(self.is_first)]
        for begin, end in pairwise(edges):
            yield slice(begin, end)


def read_rows(world: Path, instance: Instance, newest: int | None = None) -> RecordedRows:
    """All recorded episodes of an instance's dynamics in a world, or the `newest`; raises ManyheadsError if none."""
    from manyheads.storage.world_folder import WorldFolder

    folder = WorldFolder.open(world)
    folder.record_of(instance)
    replay = folder.replay(read_only=True)
    try:
        found = [episode for episode in replay.episodes(instance.dynamics_key) if len(episode) > 1]
        if not found:
            raise ManyheadsError(f"{world} holds no recorded episode of {instance.dynamics_key}.")
        return _joined(found[-newest:] if newest else found)
    finally:
        replay.close()


def _joined(episodes: list[Episode]) -> RecordedRows:
    tables = [episode.signals for episode in episodes]
    shared = sorted(set.intersection(*(set(table) for table in tables)))
    lengths = [len(episode) for episode in episodes]
    return RecordedRows(
        {name: np.concatenate([table[name] for table in tables]) for name in shared},
        np.concatenate([np.arange(length) == 0 for length in lengths]),
        np.repeat([episode.id for episode in episodes], lengths),
        np.concatenate([np.arange(length) for length in lengths]),
    )
