"""What a world has seen, as far as a goal needs it: ranges of signals, and what its episodes earn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from manyheads import RewardSpec, Success
from manyheads.rewards.coverage import Coverage, coverage
from manyheads.rewards.nodes import Join, Predicate
from manyheads.rewards.sources import SpecSource, successes
from manyheads_glam.amounts import MeasuredRange, measure

SEEN = 0.001
HELD_SEEN = 0.02
"""a goal is familiar where at least this share of the experience is as it asks, more where that is to be held …"""
PART_SEEN = 0.01
NEARLY = 0.75
"""… or where each of its parts has this share, and some 50 steps in a row earned this much on average. Of the goals in
docs/results.md that are to be held and had less than `HELD_SEEN`, heads hardly ever reached those that earned 0.2 to
0.71, and did reach those that earned 0.93 and more"""
ROWS = 200_000
"""the newest rows that are looked at"""


class Episode(Protocol):
    """A recorded episode."""

    @property
    def signals(self) -> Mapping[str, NDArray[np.float64]]:
        """Each signal (T,) by name."""

    def __len__(self) -> int: ...


class Experience(Protocol):
    """What of a replay is read here."""

    def signals(self, experience: str) -> Mapping[str, NDArray[np.float64]]: ...

    def episodes(self, experience: str | None = None) -> Sequence[Any]: ...


@dataclass(frozen=True)
class Seen:
    """What a world's experience says about one specification."""

    coverage: Coverage
    fulfilled: float
    """share of the rows that are as the goal asks, for however short"""
    parts: tuple[float, ...]
    """the same for each of its parts alone"""
    curves: tuple[NDArray[np.float64], ...]
    """reward along the worst, the middle and the best episode"""
    held: bool
    """whether the goal is reached only by being as it asks for some time"""

    @property
    def familiar(self) -> bool:
        """Whether a head for the goal has what it takes to be trained in imagination alone."""
        nearly = min(self.parts) >= PART_SEEN and self.coverage.best_stretch >= NEARLY
        return self.fulfilled >= (HELD_SEEN if self.held else SEEN) or nearly


def ranges(replay: Experience, key: str) -> dict[str, MeasuredRange]:
    """MeasuredRange ranges of every signal; `key` is the instance's experience key."""
    return measure(replay.signals(key))


def newest(replay: Experience, key: str) -> list[dict[str, NDArray[np.float64]]]:
    """The signals of the newest episodes, newest first."""
    episodes, rows = [], 0
    for episode in reversed(replay.episodes(key)):
        if rows >= ROWS:
            break
        if len(episode) > 1:
            episodes.append(dict(episode.signals))
            rows += len(episode)
    return episodes


def joined(
    episodes: Sequence[Mapping[str, NDArray[np.float64]]],
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_]]:
    """Episodes' signals one after the other, each (T,), and `is_first`."""
    shared = set.intersection(*(set(one) for one in episodes))
    columns = {name: np.concatenate([one[name] for one in episodes]) for name in sorted(shared)}
    return columns, np.concatenate([_first(len(next(iter(one.values())))) for one in episodes])


def look(replay: Experience, key: str, spec: RewardSpec, step_seconds: float | None = None) -> Seen | None:
    """What the newest episodes earn under a specification; None without any."""
    episodes = newest(replay, key)
    if not episodes:
        return None
    columns, first = joined(episodes)
    assert spec.success is not None  # the writer always derives one
    when = spec.success.when
    parts = when.of if isinstance(when, Join) and when.op == "all" else [when]
    return Seen(
        coverage(spec, columns, first, step_seconds),
        _share(when, columns, first, step_seconds),
        tuple(_share(part, columns, first, step_seconds) for part in parts),
        _curves(SpecSource(spec, step_seconds=step_seconds), episodes),
        spec.success.held_for > 1,
    )


def _first(rows: int) -> NDArray[np.bool_]:
    first = np.zeros(rows, bool)
    first[0] = True
    return first


def _share(when: Predicate, columns: Mapping[str, Any], first: NDArray[np.bool_], step_seconds: float | None) -> float:
    return float(successes(Success(when=when), columns, first, step_seconds=step_seconds)[~first].mean())


def _curves(source: SpecSource, episodes: Sequence[Mapping[str, Any]]) -> tuple[NDArray[np.float64], ...]:
    rewards = sorted((np.asarray(source.label(one).reward) for one in episodes), key=lambda r: float(r.mean()))
    chosen = dict.fromkeys((0, len(rewards) // 2, len(rewards) - 1))
    return tuple(rewards[i] for i in chosen)
