"""Checks on what a world has recorded: of a specification (L3, L4), and of what the writer made of its goal (L5)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manyheads import ManyheadsError, RewardSpec
from manyheads.environment.contract import Instance
from manyheads.rewards.agreement import check_meaning
from manyheads.rewards.evidence import check_evidence
from manyheads.rewards.finding import Finding
from manyheads.rewards.sources import SpecSource
from manyheads_glam import words
from manyheads_glam.experience import Experience, joined, newest
from manyheads_glam.words import POLES, stem

WriteAgain = Callable[[str], RewardSpec]
SERIOUS = frozenset({"L3_UNREACHABLE", "L4_NOT_FINITE", "L4_FLAT"})
"""What goes back to a model that drafts as if it were an error: such a reward teaches nothing here"""
TURNED = ("lateral", "forward", "vertical", "turning", "posture", "nearness", "pace", "motion")
"""The axes whose words are turned round for an opposite goal, in this order"""


@dataclass(frozen=True)
class Evidence:
    """Recorded rows (T,) of an instance, to hold specifications against."""

    instance: Instance
    columns: dict[str, NDArray[np.float64]]
    is_first: NDArray[np.bool_]

    def check(self, spec: RewardSpec) -> list[Finding]:
        """What the rows say against a specification (L3, L4); nothing where they lack a signal of it."""
        if not spec.signals <= self.columns.keys():
            return []
        return check_evidence(spec, self.instance.signals, self.columns, self.is_first, self.instance.step_seconds)

    def meaning(self, goal: str, spec: RewardSpec, again: WriteAgain) -> list[Finding]:
        """Whether the same writer makes of other wordings the same, and of the opposite something else (L5).

        A wording that it refuses says nothing.
        """
        others = [found for text in paraphrases(goal) if (found := self._rewards(text, again)) is not None]
        turned = opposite(goal)
        against = None if turned is None else self._rewards(turned, again)
        return check_meaning(self._pays(spec), self.is_first, others, against)

    def _rewards(self, text: str, again: WriteAgain) -> NDArray[np.float32] | None:
        try:
            return self._pays(again(text))
        except ManyheadsError:
            return None

    def _pays(self, spec: RewardSpec) -> NDArray[np.float32]:
        source = SpecSource(spec, step_seconds=self.instance.step_seconds)
        return np.asarray(source.label(self.columns, self.is_first).reward)


def evidence(replay: Experience, instance: Instance) -> Evidence | None:
    """The newest recorded rows of an instance; None without any."""
    episodes = newest(replay, instance.dynamics_key)
    return Evidence(instance, *joined(episodes)) if episodes else None


def paraphrases(goal: str) -> list[str]:
    """The goal with other words for its things, and with its clauses the other way round."""
    found = []
    swapped = re.sub(r"[A-Za-z]+", lambda match: _SYNONYM.get(match[0].lower(), match[0]), goal)
    found.append(swapped)
    parts = re.split(r" and ", goal.rstrip("."))
    if len(parts) == 2:
        found.append(f"{parts[1]} and {parts[0][:1].lower()}{parts[0][1:]}.")
    found.append(f"Please, {goal[:1].lower()}{goal[1:]}")
    return [text for text in dict.fromkeys(found) if text != goal]


def opposite(goal: str) -> str | None:
    """The goal with one word turned round that has an opposite, of place before others; None without one."""
    found = []
    for match in re.finditer(r"[A-Za-z]+", goal):
        poles = POLES.get(stem(match[0].lower()), [])
        if len(poles) == 1 and poles[0][0] in TURNED:
            axis, pole = poles[0]
            other = words.AXES[axis][1 if pole > 0 else 0].split()[0]
            found.append((TURNED.index(axis), f"{goal[: match.start()]}{other}{goal[match.end() :]}"))
    return min(found)[1] if found else None


_SYNONYM = {
    name: others.split()[0] for name, others in words.SYNONYMS.items() if name in ("pole", "cart", "car", "torso")
}
