"""`evaluations.json`: how heads and random actions did when they were last played in the real simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from manyheads import atomic

FILE = "evaluations.json"
RESERVED_SEEDS = 10_000_000
"""Seeds of evaluation episodes start here; those of training lie below."""
SELECTION_SEEDS = 20_000_000
"""Seeds of the episodes that are played while training, by which the best heads are chosen, start here."""
STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=STRICT)
class EpisodeResult:
    """One episode: both returns, whether the task's success predicate held (None without one), its length in steps."""

    seed: int
    return_simulator: float
    return_task: float
    success: bool | None
    length: int


@dataclass(frozen=True, config=STRICT)
class Interval:
    """A mean with its bootstrap 95% interval; one episode has none."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, config=STRICT)
class Evaluation:
    """Episodes of one policy on one task; `difference` is to the random policy on the same seeds."""

    task: str
    policy: Literal["random", "head"]
    environment_steps: int
    episodes: list[EpisodeResult]
    returns: Interval
    success_rate: float | None
    difference: Interval | None = None
    saved: int | None = None
    """number of the save that wrote the head which was played"""

    def record(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def read(world: Path) -> list[Evaluation]:
    """A world's evaluations, none before the first; raises ManyheadsError where the file is damaged."""
    path = world / FILE
    if not path.exists():
        return []
    advice = f"Delete it and play again: `manyheads evaluate {world}`."
    return atomic.check(path, atomic.read_json(path), list[Evaluation], advice)


def save(world: Path, results: Sequence[Evaluation]) -> list[str]:
    """Puts results into the world's file in place of earlier ones of the same tasks.

    A record of more episodes of the very same head stays; the names of such tasks are returned.
    """
    before = read(world)
    more = {
        result.task
        for result in results
        for old in before
        if (old.task, old.policy, old.saved) == (result.task, result.policy, result.saved)
        and result.saved is not None
        and len(old.episodes) > len(result.episodes)
    }
    fresh = [result for result in results if result.task not in more]
    kept = [old for old in before if old.task not in {result.task for result in fresh}]
    if fresh:
        atomic.write_json(world / FILE, [result.record() for result in (*kept, *fresh)])
    return sorted(more)


def delete(world: Path, task: str) -> None:
    """Leaves out what is recorded of a task."""
    before = read(world)
    kept = [each for each in before if each.task != task]
    if kept != before:
        atomic.write_json(world / FILE, [each.record() for each in kept])
