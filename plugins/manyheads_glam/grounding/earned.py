"""What a group's specifications earn, and what that speaks for in each decision."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import fmean

import numpy as np

from manyheads_glam.decisions import Question
from manyheads_glam.grounding.attempts import Attempt, Choice
from manyheads_glam.grounding.policy import Weights
from manyheads_glam.grounding.practice import Practice, PracticeGoal


class Parts:
    """The two parts of the rewards of a step's groups."""

    def __init__(self) -> None:
        self.rewards: list[float] = []
        self.ranks: list[float] = []
        self.imagined: list[float] = []
        self.seconds = 0.0

    def add(self, practice: Practice, goal: PracticeGoal, group: Sequence[Attempt], judged: bool) -> Weights:
        """Rewards (G,) of a group: its ranks, and where it is `judged` the mean of them and what its heads earn."""
        ranks = np.array([rank_of(practice, goal, one) for one in group], np.float32)
        self.ranks.append(float(ranks.mean()))
        rewards = ranks
        shares = self._shares(practice, goal, group) if judged else None
        if shares is not None:
            self.imagined.append(float(shares.mean()))
            rewards = np.asarray((ranks + shares) / 2, np.float32)
        self.rewards.append(float(rewards.mean()))
        return rewards

    def _shares(self, practice: Practice, goal: PracticeGoal, group: Sequence[Attempt]) -> Weights | None:
        """What heads of the group's specifications earn by the truth; None where imagination can't tell."""
        specs = {one.spec.fingerprint: one.spec for one in group if one.spec is not None}
        if practice.world is None or len(specs) + any(one.spec is None for one in group) < 2:
            return None
        began = time.perf_counter()
        shares = practice.shares(goal.truth, [*specs.values()])
        self.seconds += time.perf_counter() - began
        if shares is None:
            return None
        earned = dict(zip(specs, shares, strict=True))
        return np.array([0.0 if one.spec is None else earned[one.spec.fingerprint] for one in group], np.float32)

    def row(self) -> dict[str, float]:
        """For the curve: `imagined` where any group was judged by heads."""
        row = {"reward": fmean(self.rewards), "rank": fmean(self.ranks)}
        if self.seconds:
            row |= {"imagined goals": len(self.imagined), "imagined seconds": round(self.seconds, 2)}
        return row | ({"imagined": fmean(self.imagined)} if self.imagined else {})


class Credit:
    """What speaks for the options of each question, over all times that it came up."""

    def __init__(self) -> None:
        self.weights: dict[Question, Weights] = {}
        self.taken: dict[Question, list[int]] = {}

    def add(self, choice: Choice, weight: float) -> None:
        question, taken = choice
        self.weights.setdefault(question, np.zeros(len(question.options), np.float32))[taken] += weight
        self.taken.setdefault(question, []).append(taken)


def rank_of(practice: Practice, goal: PracticeGoal, attempt: Attempt) -> float:
    """Agreement with the truth; 0 without a specification."""
    return 0.0 if attempt.spec is None else practice.rank(attempt.spec, goal)
