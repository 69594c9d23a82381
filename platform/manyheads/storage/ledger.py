"""`ledger.json`: how each head did in the real simulator at each state of the world model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def record(folder: WorldFolder, returns: Mapping[str, Sequence[float]]) -> None:
    """Writes the scores of heads as they are saved now, by task."""
    write(folder.path, with_scores(folder, returns))


def with_scores(folder: WorldFolder, returns: Mapping[str, Sequence[float]]) -> list[Score]:
    """The ledger with the scores of heads as they are saved now, by task."""
    scores = read(folder.path)
    for task, own in returns.items():
        scores = _with_score(scores, folder, task, own)
    return scores


def _with_score(scores: Sequence[Score], folder: WorldFolder, task: str, returns: Sequence[float]) -> list[Score]:
    """With a score of the same head and world that has no more episodes replaced."""
    weights = f"heads/{folder.task(task).slug}/weights"
    saved = folder.checkpoint.generation_of(weights) if weights in folder.checkpoint.names else 0
    score = Score(task, int(folder.checkpoint.state.get("updates", 0)), saved, [*returns])
    kept = []
    for other in scores:
        same = (other.task, other.world_updates, other.saved) == (score.task, score.world_updates, score.saved)
        if not same:
            kept.append(other)
        elif len(other.returns) > len(score.returns):
            return [*scores]
    return [*kept, score]


def rename(world: Path, task: str, new: str | None) -> None:
    """Gives a head's scores another name, or deletes them."""
    known = read(world)
    if any(score.task == task for score in known):
        named = [replace(score, task=new) if score.task == task and new else score for score in known]
        write(world, [score for score in named if score.task != task])


def scores_of(scores: Iterable[Score], task: str) -> list[Score]:
    """A head's scores, oldest first."""
    return [score for score in scores if score.task == task]


def write(world: Path, scores: Sequence[Score]) -> None:
    """Writes a world's ledger; raises ManyheadsError where that is not possible."""
    atomic.write_json(world / FILE, [_record(score) for score in scores])


def _record(score: Score) -> dict[str, object]:
    return {
        "task": score.task,
        "world_updates": score.world_updates,
        "saved": score.saved,
        "returns": score.returns,
    }
