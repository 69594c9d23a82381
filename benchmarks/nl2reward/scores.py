"""How well a specification ranks recorded steps and stretches as the true one does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.nl2reward.rows import Recorded
from numpy.typing import NDArray

from manyheads import RewardSpec
from manyheads.environment.contract import Instance
from manyheads.rewards.agreement import agreement
from manyheads.rewards.coverage import STRETCH
from manyheads.rewards.sources import SpecSource

TOP = 0.05
INVERTED = -0.2
"""rank correlation of stretches from which on a specification counts as the opposite"""


@dataclass(frozen=True)
class Score:
    """Of one specification against the truth; all zero where the writer refused."""

    valid: bool
    segments: float = 0.0
    """Spearman over 50-step returns"""
    steps: float = 0.0
    top: float = 0.0
    """overlap of the best twentieth of the stretches"""

    @property
    def inverted(self) -> bool:
        return self.segments < INVERTED


def label(spec: RewardSpec, instance: Instance, rows: Recorded) -> NDArray[np.float32]:
    """Reward of every recorded row."""
    source = SpecSource(spec, step_seconds=instance.step_seconds)
    return np.asarray(source.label(rows.columns, rows.is_first).reward)


def score(ours: NDArray[np.float32] | None, truth: NDArray[np.float32], is_first: NDArray[np.bool_]) -> Score:
    """Scores rewards of the same rows; None: there is no specification. A constant reward agrees with nothing."""
    if ours is None:
        return Score(False)
    found = agreement(ours, truth, is_first)
    return Score(True, _number(found.segments), _number(found.steps), _overlap(ours, truth))


def _number(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _overlap(ours: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    width = len(truth) // STRETCH * STRETCH
    sums = [reward[:width].reshape(-1, STRETCH).sum(1) for reward in (ours, truth)]
    count = max(1, round(TOP * len(sums[0])))
    best = [set(np.argsort(-one, kind="stable")[:count].tolist()) for one in sums]
    return len(best[0] & best[1]) / count


def summary(scores: Sequence[Score], seconds: Sequence[float]) -> dict[str, float]:
    """Shares and medians over scores; refused goals count as 0."""
    return {
        "goals": len(scores),
        "valid": sum(one.valid for one in scores) / len(scores),
        "segments": float(np.median([one.segments for one in scores])),
        "mean": float(np.mean([one.segments for one in scores])),
        "steps": float(np.median([one.steps for one in scores])),
        "top": float(np.mean([one.top for one in scores])),
        "inverted": sum(one.inverted for one in scores),
        "seconds": float(np.mean(seconds)),
    }
