"""What is said where a goal can't be measured: why, the nearest that can be, and what would make it measurable."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import click
import numpy as np

from manyheads import ManyheadsError
from manyheads.environment.contract import Instance
from manyheads_glam.catalogue import Reading
from manyheads_glam.evidence import SIDES, Side
from manyheads_glam.models.sentences import encoder
from manyheads_glam.retrieval import packaged_index, side_votes
from manyheads_glam.wordings import clause

T = TypeVar("T")
OFFERS = 3


class Unmeasurable(ManyheadsError):
    """A goal that nothing here measures; `offers` are goals near to it that can be measured."""

    def __init__(self, why: str, offers: Sequence[str], declaration: str) -> None:
        self.why, self.offers, self.declaration = why, tuple(offers), declaration
        near = "".join(f"\n  {offer}" for offer in self.offers)
        offered = f"\nThe nearest that can be measured:{near}" if near else ""
        super().__init__(f"{why}{offered}\n{declaration}")


def unmeasurable(clause_text: str, unknown: str, instance: Instance, readings: Sequence[Reading]) -> Unmeasurable:
    """The refusal of a clause about `unknown`, with what is nearest to it, whichever model writes."""
    name = instance.environment.name
    why = f"{name} measures nothing called {unknown!r}. It measures: {', '.join(r.name for r in readings)}."
    return Unmeasurable(why, offers(clause_text, readings), declaration(unknown, name))


def offers(text: str, readings: Sequence[Reading]) -> list[str]:
    """Demands on the signals whose descriptions are nearest, on the sides that the nearest examples take."""
    embed = encoder()
    similarity = embed([reading.sentence for reading in readings]) @ embed([text])[0]
    near = packaged_index(embed).nearest(text)
    found: dict[str, None] = {}
    for i in np.argsort(-similarity, kind="stable"):
        reading = readings[i]
        votes = side_votes(near, reading.role)
        side: Side = max(SIDES[reading.role], key=lambda one: votes.get(one, 0.0))
        found.setdefault(clause(reading, side, 0, lambda choices: choices[0]))
        if len(found) == OFFERS:
            break
    return list(found)


def asked_back(goal: str, writes: Callable[[str], T]) -> T:
    """What is written for a goal, or, where it can't be measured, for the person's answer to one question."""
    try:
        return writes(goal)
    except Unmeasurable as refused:
        if not refused.offers or not sys.stdin.isatty():
            raise
        choices = "\n".join(f"  {i}  {offer}" for i, offer in enumerate(refused.offers, 1))
        click.echo(f"{refused.why}\nThe nearest that can be measured:\n{choices}")
        answer = click.prompt("One of these by its number, the goal in other words, or n", default="n").strip()
        if answer.lower() in ("n", "no"):
            raise ManyheadsError(f"Nothing was written. {refused.declaration}") from None
        named = answer.isdigit() and 1 <= int(answer) <= len(refused.offers)
        return writes(refused.offers[int(answer) - 1] if named else answer)


def declaration(unknown: str, environment: str) -> str:
    """What may help: another model, or the lines with which the environment's plugin would declare such a signal."""
    name = "_".join(unknown.split())
    return (
        "A language model may read it otherwise: `--model NAME` (docs/language_models.md).\n"
        f"To measure it, the plugin of {environment} declares a signal and returns its value:\n"
        f'  Signal("{name}", kind="boolean", low=0, high=1, description="1 if …, else 0")  # among `signals`\n'
        f'  "{name}": float(…),  # in what `measure` returns (docs/own_environment.md)'
    )
