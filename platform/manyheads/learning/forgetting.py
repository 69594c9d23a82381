"""What heads lose while the world model is trained on: scores at its states compared, drops beyond noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from manyheads.learning.evaluate import bootstrap_difference
from manyheads.storage.evaluations import Interval
from manyheads.storage.ledger import Score


@dataclass(frozen=True)
class Drop:
    """A head that earns less than it did at an earlier state of the world model, beyond what chance explains."""

    task: str
    before: Score
    now: Score
    difference: Interval
    """now less before, with its bootstrap 95% interval, which lies below 0"""

    def __str__(self) -> str:
        low, high = self.difference.low, self.difference.high
        return (
            f"{self.task} earned {self.before.mean:.4g} when the world model had {self.before.world_updates:,} "
            f"updates, and {self.now.mean:.4g} now, at {self.now.world_updates:,}: "
            f"{self.difference.mean:+.4g} [{low:.4g}, {high:.4g}]."
        )

    def record(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def drop(scores: Sequence[Score]) -> Drop | None:
    """Whether the last of a head's scores lies below its best at an earlier state of the world model."""
    if not scores:
        return None
    now = scores[-1]
    earlier = [score for score in scores if score.world_updates < now.world_updates]
    if not earlier:
        return None
    before = max(earlier, key=lambda score: score.mean)
    difference = bootstrap_difference(now.returns, before.returns)
    surely = difference.high is not None and difference.high < 0
    return Drop(now.task, before, now, difference) if surely else None
