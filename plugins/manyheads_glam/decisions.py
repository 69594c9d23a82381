"""Weighs the options of one decision: lexicon (R0), retrieval (R1) and likelihood (R2), added with fixed weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from manyheads_glam.transcript import RecordingModel

STEPS = {"R0": "R0 lexicon", "R1": "R1 retrieval", "R2": "R2 score"}


@dataclass(frozen=True)
class Option:
    """One possible answer; `says` continues the decision's prompt for the language model."""

    answer: str
    description: str
    lexicon: float = 0.0
    retrieval: float = 0.0


@dataclass(frozen=True)
class Decision:
    """What was decided, by which step, how clearly, and what the other options got."""

    about: str
    """the clause"""
    question: str
    answer: str
    step: str
    """the step that set the answer apart from the next best one"""
    margin: float
    why: str = ""
    options: tuple[Mapping[str, Any], ...] = field(default=())

    @property
    def is_tie(self) -> bool:
        """Nothing sets the answer apart from the next best one: it would be a guess."""
        return len(self.options) > 1 and not self.margin

    def record(self) -> dict[str, Any]:
        """As plain data, for the task's journal."""
        return {"call": "decision", **asdict(self), "options": [dict(option) for option in self.options]}


@dataclass(frozen=True)
class Question:
    """One decision as it is put to a model; `prompt` has a place `{goal}` for what it is about."""

    about: str
    question: str
    prompt: str
    options: tuple[Option, ...]

    @property
    def says(self) -> list[str]:
        """The options as continuations of the prompt."""
        return [f" {option.description}" for option in self.options]

    def given(self) -> str:
        """The prompt under what the decision is about."""
        return self.prompt.format(goal=self.about)

    def empty(self) -> str:
        """The prompt under an empty goal."""
        return self.prompt.format(goal="")


def choose(model: RecordingModel, about: str, question: str, prompt: str, options: Sequence[Option]) -> list[Decision]:
    """Every option as an answer, best first.

    `prompt` has a place `{goal}`; likelihood is the mean log-probability of an option's words under the goal, less
    that under an empty goal, so that words that are likely anyway gain nothing.
    """
    asked = Question(about, question, prompt, tuple(options))
    rows: list[dict[str, Any]] = [
        {"answer": o.answer, "R0": o.lexicon, "R1": o.retrieval, "R2": score}
        for o, score in zip(options, _likelihood(model, asked), strict=True)
    ]
    rows = [row | {"total": row["R0"] + row["R1"] + row["R2"]} for row in rows]
    rows = [rows[i] for i in model.order(asked, [row["total"] for row in rows])]
    shown = tuple({k: v if isinstance(v, str) else round(v, 3) for k, v in row.items()} for row in rows)
    return [_decision(about, question, rows, i, shown) for i in range(len(rows))]


def _likelihood(model: RecordingModel, asked: Question) -> list[float]:
    """What the model's scores add to each option, around their mean and within the trust that it has."""
    if len(asked.options) == 1:
        return [0.0]
    given, empty = model.score(asked.given(), asked.says), model.prior(asked.empty(), asked.says)
    gains = [model.trust.weight * (a - b) for a, b in zip(given, empty, strict=True)]
    usual, limit = sum(gains) / len(gains), model.trust.limit
    return [max(-limit, min(limit, gain - usual)) for gain in gains]


def _decision(
    about: str, question: str, rows: Sequence[Mapping[str, Any]], i: int, shown: tuple[Mapping[str, Any], ...]
) -> Decision:
    row = rows[i]
    if len(rows) == 1:
        return Decision(about, question, row["answer"], STEPS["R0"], 0.0, "the only one", shown)
    rival = rows[1] if i == 0 else rows[0]
    gains = {step: row[step] - rival[step] for step in STEPS}
    step = max(gains, key=lambda name: gains[name])
    why = ", ".join(f"{name} {gain:+.2f}" for name, gain in gains.items()) + f" against {rival['answer']}"
    return Decision(about, question, row["answer"], STEPS[step], round(row["total"] - rival["total"], 3), why, shown)
