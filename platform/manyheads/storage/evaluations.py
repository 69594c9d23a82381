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
    """A mean with its bootstrap 95% interval."""

    mean: float
    low: float
    high: float


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


def save(world: Path, results: Sequence[Evaluation]) -> None:
    """Puts results into the world's file; earlier ones of the same tasks are replaced."""
    fresh = {result.task for result in results}
    kept = [result for result in read(world) if result.task not in fresh]
    atomic.write_json(world / FILE, [result.record() for result in (*kept, *results)])
