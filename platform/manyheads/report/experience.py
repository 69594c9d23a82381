"""What a world's replay holds, as plain data: rows, episodes, and what was measured of each signal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from manyheads.environment.contract import REWARD, Signal
from manyheads.errors import ManyheadsError, unknown
from manyheads.storage.world_folder import InstanceRecord, WorldFolder

if TYPE_CHECKING:
    from manyheads.experience.recorded_episode import Episode
    from manyheads.experience.replay import Replay

NEWEST_ROWS = 100_000
"""the newest rows of an instance that ranges are taken of"""
BARS = 32
"""bars of a histogram"""


def recorded(folder: WorldFolder, newest: int = 30) -> dict[str, Any]:
    """JSON-able facts about a world's replay: what was measured in each environment, and the `newest` episodes.

    Raises ManyheadsError where the replay is missing or damaged.
    """
    replay = open_replay(folder)
    try:
        episodes = replay.episodes()
        return {
            "rows": replay.rows,
            "bytes": replay.bytes,
            "episodes": len(episodes),
            "image": folder.interface.image is not None,
            "instances": _instances(folder.instances, episodes),
            "newest": [_facts(episode) for episode in reversed(episodes[-newest:])],
        }
    finally:
        replay.close()


def recorded_episode(folder: WorldFolder, number: int) -> dict[str, Any]:
    """One episode of a world's replay, JSON-able: its facts and each signal (T,) by name."""
    replay = open_replay(folder)
    try:
        episode = find_episode(replay, number)
        return {**_facts(episode), "signals": {name: column.tolist() for name, column in episode.signals.items()}}
    finally:
        replay.close()


def open_replay(folder: WorldFolder) -> Replay:
    """A world's replay, to look at; raises ManyheadsError where there is none."""
    if not (folder.path / "replay").exists():
        raise ManyheadsError(f"{folder.path} has no replay: it was handed on without it, or has not been trained yet.")
    return folder.replay(read_only=True)


def find_episode(replay: Replay, number: int) -> Episode:
    """The recorded episode of that number."""
    for episode in replay.episodes():
        if episode.id == number:
            return episode
    raise unknown("recorded episode", str(number), [], "manyheads replay WORLD")


def _facts(episode: Episode) -> dict[str, Any]:
    terminal = bool(episode.is_terminal[-1]) if len(episode) else False
    reward = episode.signals.get(REWARD.name)
    return {
        "episode": episode.id,
        "instance": episode.instance.key,
        "rows": len(episode),
        "ended": "still open" if episode.is_open else "terminal" if terminal else "truncated",
        "return": None if reward is None else float(reward[1:].sum()),
    }


def _instances(records: Sequence[InstanceRecord], episodes: Sequence[Episode]) -> list[dict[str, Any]]:
    """What was recorded with each dynamics, in the order of the newest rows' instances."""
    found = []
    for key in dict.fromkeys(episode.instance.dynamics_key for episode in episodes):
        own = [episode for episode in episodes if episode.instance.dynamics_key == key]
        found.append(
            {
                "instance": key,
                "rows": sum(map(len, own)),
                "episodes": len(own),
                "signals": _signals(_declared(records, key), own),
            }
        )
    return found


def _declared(records: Sequence[InstanceRecord], key: str) -> dict[str, Signal]:
    """The signals of an instance by name, none where it can't be made here."""
    for record in records:
        try:
            instance = record.instance()
        except ManyheadsError:
            continue
        if instance.dynamics_key == key:
            return {signal.name: signal for signal in instance.signals}
    return {}


def _signals(declared: dict[str, Signal], episodes: Sequence[Episode]) -> list[dict[str, Any]]:
    tables, rows = [], 0
    for episode in reversed(episodes):
        if rows >= NEWEST_ROWS:
            break
        tables.append(episode.signals)
        rows += len(episode)
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    return [_measured(name, declared.get(name), np.concatenate([table[name] for table in tables])) for name in shared]


def _measured(name: str, signal: Signal | None, values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    low, middle, high = np.quantile(values, [0.01, 0.5, 0.99]).tolist()
    counts, edges = np.histogram(values, bins=BARS)
    return {
        "signal": name,
        "unit": "" if signal is None else signal.unit,
        "description": "" if signal is None else signal.description,
        "quantiles": [low, middle, high],
        "low": float(edges[0]),
        "high": float(edges[-1]),
        "counts": counts.tolist(),
    }
