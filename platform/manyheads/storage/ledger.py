"""`ledger.json`: how each head did in the real simulator at each state of the world model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from manyheads import atomic
from manyheads.storage.world_folder import WorldFolder

FILE = "ledger.json"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Score:
    """Returns of a head's episodes under its task's own reward."""

    task: str
    world_updates: int
    """updates of the world model then: its version"""
    saved: int
    """generation of the checkpoint in which the head was saved"""
    returns: list[float]

    @property
    def mean(self) -> float:
        return sum(self.returns) / len(self.returns)


def read(world: Path) -> list[Score]:
    """A world's ledger, oldest first, empty before the first score; raises ManyheadsError where the file is damaged."""
    path = world / FILE
    if not path.exists():
        return []
    advice = f"Delete it; `manyheads evaluate {world}` begins another."
    return atomic.check(path, atomic.read_json(path), list[Score], advice)


def record(folder: WorldFolder, task: str, returns: Sequence[float]) -> Score:
    """Adds the score of a head as it is saved now; one of the same head and world with fewer episodes is replaced."""
    weights = f"heads/{folder.task(task).slug}/weights"
    saved = folder.checkpoint.generation_of(weights) if weights in folder.checkpoint.names else 0
    score = Score(task, int(folder.checkpoint.state.get("updates", 0)), saved, [*returns])
    kept = []
    for other in read(folder.path):
        same = (other.task, other.world_updates, other.saved) == (score.task, score.world_updates, score.saved)
        if not same:
            kept.append(other)
        elif len(other.returns) > len(score.returns):
            return other
    _write(folder.path, [*kept, score])
    return score


def rename(world: Path, task: str, new: str | None) -> None:
    """Gives a head's scores another name, or deletes them."""
    known = read(world)
    if any(score.task == task for score in known):
        named = [replace(score, task=new) if score.task == task and new else score for score in known]
        _write(world, [score for score in named if score.task != task])


def scores_of(world: Path, task: str) -> list[Score]:
    """A head's scores, oldest first."""
    return [score for score in read(world) if score.task == task]


def _write(world: Path, scores: Sequence[Score]) -> None:
    atomic.write_json(world / FILE, [_record(score) for score in scores])


def _record(score: Score) -> dict[str, object]:
    return {
        "task": score.task,
        "world_updates": score.world_updates,
        "saved": score.saved,
        "returns": score.returns,
    }
