"""How far two rewards agree on recorded rows: whether they rank steps, and stretches of steps, alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyheads.rewards.coverage import STRETCH
from manyheads.rewards.finding import Finding

AGREE, OPPOSE = 0.7, 0.3
"""From where paraphrases agree; up to where opposites may."""


class Agreement(NamedTuple):
    """Spearman's rank correlations, in [-1, 1]; not-a-number where a reward is constant."""

    steps: float
    segments: float
    """of sums over 50 successive rows of an episode (all rows of a shorter one)"""
    rows: int
    segment_count: int


def agreement(ours: NDArray[np.float32], theirs: NDArray[np.float32], is_first: NDArray[np.bool_]) -> Agreement:
    """Of two rewards (T,) on the same rows; rows that start an episode earn nothing and are left out."""
    moves = ~is_first
    segments = list(_segments(is_first))
    sums = [[float(reward[rows].sum()) for rows in segments] for reward in (ours, theirs)]
    return Agreement(spearman(ours[moves], theirs[moves]), spearman(*sums), int(moves.sum()), len(segments))


def spearman(a: Sequence[float] | NDArray[np.float32], b: Sequence[float] | NDArray[np.float32]) -> float:
    """The correlation of ranks, equal values sharing their mean rank; not-a-number where either is constant."""
    ranks = [_ranks(np.asarray(values, np.float64)) for values in (a, b)]
    spread = [float(rank.std()) if len(rank) else 0.0 for rank in ranks]
    if min(spread) == 0:
        return float("nan")
    centred = [rank - rank.mean() for rank in ranks]
    return float((centred[0] * centred[1]).mean() / (spread[0] * spread[1]))


def check_meaning(
    reward: NDArray[np.float32],
    is_first: NDArray[np.bool_],
    paraphrases: Sequence[NDArray[np.float32]] = (),
    opposite: NDArray[np.float32] | None = None,
) -> list[Finding]:
    """Level L5: rewards for other wordings of the goal should rank stretches alike, that for the opposite goal not.

    All are (T,) on the same rows.
    """
    findings = []
    agreed = [agreement(reward, other, is_first).segments for other in paraphrases]
    if agreed and not (median := float(np.median(agreed))) >= AGREE:
        message = f"Other wordings of the goal rank what was recorded otherwise: median rank correlation {median:.2f}."
        findings.append(Finding("L5_PARAPHRASE", "warning", "", message))
    if opposite is not None and (alike := agreement(reward, opposite, is_first).segments) > OPPOSE:
        message = f"The opposite goal ranks what was recorded alike: rank correlation {alike:.2f}."
        findings.append(Finding("L5_OPPOSITE", "warning", "", message))
    return findings


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle: NDArray[np.float64] = last - (counts - 1) / 2
    return middle[inverse]


def _segments(is_first: NDArray[np.bool_]) -> Iterator[slice]:
    """Stretches of 50 rows of one episode without its start; what is left at an end is left out."""
    edges = [*np.flatnonzero(is_first).tolist(), len(is_first)]
    for begin, end in pairwise(edges):
        length = min(STRETCH, end - begin - 1)
        for start in range(begin + 1, end - length + 1, max(length, 1)):
            if length:
                yield slice(start, start + length)
