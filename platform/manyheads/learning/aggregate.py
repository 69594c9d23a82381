"""One number over many heads: normalised scores, their mean and interquartile mean, with bootstrap intervals.

The method of rliable (Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice"),
with episodes in place of runs: they are resampled task by task, and the interquartile mean leaves out the lowest and
the highest quarter of all scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from manyheads.storage.evaluations import Interval

Floats = npt.NDArray[np.float64]
RESAMPLES = 2000


@dataclass(frozen=True)
class Reference:
    """What counts as 1 for a task; random actions count as 0."""

    value: float
    kind: Literal["published", "bound"]
    """the published mean at the longest training; or the most that a specification pays in an episode"""
    simulator: bool
    """of the simulator's return; otherwise of the task's own"""


@dataclass(frozen=True)
class TaskScores:
    """Episodes of one head, normalised."""

    task: str
    reference: Reference
    scores: list[float]


@dataclass(frozen=True)
class Aggregate:
    """Over all heads that have a reference."""

    tasks: list[TaskScores]
    without_reference: list[str]
    mean: Interval
    interquartile_mean: Interval

    def record(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def normalised(returns: Sequence[float], random: float, reference: float) -> list[float]:
    """0 for random actions, 1 for the reference."""
    return [(value - random) / (reference - random) for value in returns]


def aggregate(tasks: Sequence[TaskScores], without_reference: Sequence[str] = ()) -> Aggregate | None:
    """None where no task has a reference."""
    if not tasks:
        return None
    scores = {each.task: np.asarray(each.scores) for each in tasks}
    return Aggregate(
        [*tasks],
        [*without_reference],
        stratified_bootstrap(scores, lambda x: float(x.mean())),
        stratified_bootstrap(scores, interquartile_mean),
    )


def interquartile_mean(values: Floats) -> float:
    """The mean without the lowest and the highest quarter, each rounded down to whole values."""
    ordered = np.sort(values, axis=None)
    cut = ordered.size // 4
    return float(ordered[cut : ordered.size - cut].mean())


def stratified_bootstrap(
    scores: Mapping[str, Floats], statistic: Callable[[Floats], float], seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """A statistic of all scores, and its percentile 95% interval; episodes are resampled within each task."""
    generator = np.random.default_rng(seed)
    drawn = np.concatenate([generator.choice(own, (resamples, own.size)) for own in scores.values()], 1)
    low, high = np.percentile([statistic(row) for row in drawn], [2.5, 97.5])
    return Interval(statistic(np.concatenate([*scores.values()])), float(low), float(high))
