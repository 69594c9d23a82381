"""Attempts at practice goals: decisions given, sampled or most likely, and the specifications that follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from manyheads import ManyheadsError, RewardSpec
from manyheads.rewards.finding import errors
from manyheads.rewards.validate import check
from manyheads_glam.decisions import Decision, Question
from manyheads_glam.grounding.policy import Policy, Unanswered
from manyheads_glam.grounding.practice import Demand, Practice, PracticeGoal
from manyheads_glam.transcript import RecordingModel
from manyheads_glam.understanding import SIGNS, understand
from manyheads_glam.writer import compose

Order = Callable[[Question, Sequence[float]], list[int]]


class Choice(NamedTuple):
    """A decision that was made: which of the options was taken."""

    question: Question
    taken: int


class _Unasked:
    """Stands for a policy where a teacher decides: nothing is computed."""

    drafts = False

    def __init__(self, policy: Policy) -> None:
        self.name, self.trust, self._policy = policy.name, policy.trust, policy

    def score(self, prompt: str, candidates: Sequence[str]) -> list[float]:
        return [0.0] * len(candidates)

    prior = score

    def generate(self, prompt: str, schema: Any = None, max_tokens: int = 512) -> str:
        return self._policy.generate(prompt, schema, max_tokens)

    def embed(self, texts: Sequence[str]) -> Any:
        return self._policy.embed(texts)


class Deciding(RecordingModel):
    """A policy that decides in its own way, and remembers what it decided."""

    def __init__(self, policy: Any, order: Order) -> None:
        super().__init__(policy)
        self.choices: list[Choice] = []
        self._order = order

    def is_clear(self, decision: Decision) -> bool:
        return True  # guesses are practised, too

    def order(self, question: Question, totals: Sequence[float]) -> list[int]:
        ordered = self._order(question, totals)
        if len(totals) > 1:
            self.choices.append(Choice(question, ordered[0]))
        return ordered


def best(question: Question, totals: Sequence[float]) -> list[int]:
    """The options by what speaks for them."""
    return sorted(range(len(totals)), key=lambda i: -totals[i])


def sampler(random: np.random.Generator) -> Order:
    """Options drawn by their probabilities (the softmax of what speaks for them)."""
    return lambda question, totals: best(question, [x + random.gumbel() for x in totals])


def teacher(goal: PracticeGoal, known: list[bool]) -> Order:
    """The right option first; `known` says for each decision with a choice whether the right one is there."""

    def order(question: Question, totals: Sequence[float]) -> list[int]:
        right = _answer(question, _demand(goal.demands, question.about))
        at = next((i for i, option in enumerate(question.options) if option.answer == right), None)
        if len(totals) > 1:
            known.append(at is not None)
        ordered = best(question, totals)
        return ordered if at is None else [at, *(i for i in ordered if i != at)]

    return order


class Attempt(NamedTuple):
    """What a model decided for a goal, and the specification that follows; None where it refuses or is refused."""

    choices: list[Choice]
    spec: RewardSpec | None


def write(goal: PracticeGoal, practice: Practice, model: Deciding) -> Attempt:
    """Lets a model decide what a goal asks for."""
    try:
        understood = understand(goal.sentence, practice.instance, model)
        spec, _ = compose(goal.sentence, practice.instance, understood, practice.measured)
    except ManyheadsError:
        return Attempt(model.choices, None)
    return Attempt(model.choices, None if errors(check(spec, practice.instance.signals)) else spec)


def write_right(policy: Policy, goal: PracticeGoal, practice: Practice, known: list[bool]) -> Attempt:
    """The right decisions, without a question to the policy; `known` as in `teacher`."""
    return write(goal, practice, Deciding(_Unasked(policy), teacher(goal, known)))


def write_together(
    policy: Policy, goals: Sequence[tuple[Practice, PracticeGoal]], orders: Sequence[Callable[[], Order]]
) -> list[Attempt]:
    """One attempt at each goal, each with its own order; questions that come up at the same time are scored at once.

    Those of the right decisions are the most likely ones, so they are scored first. An attempt that meets another has
    to wait and starts again, so `orders` make equal orders at every call.
    """
    different = {id(goal): (practice, goal) for practice, goal in goals}.values()
    right = [write_right(policy, goal, practice, []) for practice, goal in different]
    policy.answer(choice.question for attempt in right for choice in attempt.choices)
    found: dict[int, Attempt] = {}
    while len(found) < len(goals):
        with policy.together():
            for i, ((practice, goal), order) in enumerate(zip(goals, orders, strict=True)):
                if i not in found:
                    with suppress(Unanswered):
                        found[i] = write(goal, practice, Deciding(policy, order()))
    return [found[i] for i in range(len(goals))]


def _demand(demands: Sequence[Demand], about: str) -> Demand:
    """The demand whose words a clause has most of."""
    said = set(about.lower().split())
    return max(demands, key=lambda one: len(said & set(one.clause.lower().split())) / len(one.clause.split()))


def _answer(question: Question, demand: Demand) -> str:
    if question.question == "which signal":
        return demand.signal
    if question.question == "which side":
        return demand.side
    return next(name for name, sign in SIGNS.items() if sign == demand.sign)
