"""From a clause to signals and sides: the fixed list of decisions, each weighed by all three steps."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from manyheads import ManyheadsError, Signal
from manyheads.environment.contract import Instance
from manyheads_glam.asking import unmeasurable
from manyheads_glam.catalogue import Reading, read
from manyheads_glam.decisions import Decision, Option, choose
from manyheads_glam.evidence import (
    DIRECTIONS,
    OPPOSITES,
    SIDES,
    WAYS,
    Side,
    Wish,
    fit,
    fits_unit,
    mentions,
    names_yes_or_no,
    wish,
)
from manyheads_glam.lexicon import Aspect, demands, foreign, is_agent, parse, turning_words
from manyheads_glam.retrieval import Index, Near, role_votes, side_votes
from manyheads_glam.transcript import RecordingModel
from manyheads_glam.words import SEQUENCE, spoken, stem

CANDIDATES = 6
TERMS = 4
ALIKE = 0.65
"""from this cosine on, two words mean the same"""
SURE = 0.62
"""from this cosine on, an example says what a clause without known words asks for, and what it implies"""

SIGNAL_PROMPT = "Goal: {goal}\nTo see whether the goal is reached, one must measure the"
SIDE_PROMPT = "Goal: {goal}\nSo the {noun} should be"
WAY_PROMPT = "Goal: {goal}\nSo the {noun} should go"
PHRASES: dict[Side, str] = {
    "high": "high", "low": "low", "centre": "in the middle, close to zero",
    "fast": "fast", "moving": "moving", "slow": "slow", "still": "still, not moving",
}  # fmt: skip


SIGNS = {"either": 0, "plus": 1, "minus": -1}
"""the directions of a motion, by the sign of the signal"""


@dataclass(frozen=True)
class Understood:
    """One demand on one signal."""

    reading: Reading
    aspect: Aspect
    wanted: Wish


@dataclass(frozen=True)
class Understanding:
    """All demands of a goal, how they were decided, and what was left over."""

    demands: tuple[Understood, ...]
    decisions: tuple[Decision, ...]
    gentle: bool
    held_for: int
    ignored: tuple[str, ...] = ()
    """words that say nothing here"""


def understand(
    goal: str, instance: Instance, model: RecordingModel, banned: frozenset[str] = frozenset()
) -> Understanding:
    """Decides what a goal asks of an instance's signals; `banned` names signals that were refused before.

    Raises ManyheadsError for a goal about things that the environment doesn't measure.
    """
    readings = read(instance.signals)
    if not readings:
        raise ManyheadsError(nothing_measured(instance))
    _require_readable(goal)
    parsed = parse(goal)
    if not parsed.aspects:
        raise ManyheadsError(f"The goal {goal!r} asks for nothing. {_measured(instance, readings)}")
    mind = _Mind(instance, readings, banned, model)
    written = {stem(token): token for token in re.findall(r"[a-z_]+", goal.lower())}
    nowhere = False
    ignored: list[str] = []
    found: list[Understood] = []
    decisions: list[Decision] = []
    for aspect in sorted(parsed.aspects, key=lambda one: one.poles.get("motion") == -1):
        aspect = replace(aspect, limit=aspect.limit and not nowhere)
        aspect = _with_their_degrees(aspect, readings)
        near = mind.index.nearest(aspect.text)
        strange = mind.strange_words(aspect)
        if not aspect.place:
            mind.require_sense(goal, aspect, strange, near)
        ignored += (*(written.get(root, root) for root in strange), *aspect.unsaid)
        aspect = replace(aspect, subject=tuple(root for root in aspect.subject if root not in strange))
        reading, first = mind.signal(aspect, near)
        nowhere = bool(aspect.place) and wish(reading, aspect).side is None
        if nowhere and len(parsed.aspects) > 1:  # nothing here measures where that is
            ignored += aspect.where
            continue
        wanted, rest = mind.side(reading, aspect, near)
        if not demands(aspect) and model.trust.learned and not all(map(model.is_clear, rest)):
            raise mind.unclear(aspect)
        before = next((i for i, one in enumerate(found) if one.reading.name == reading.name), None)
        if before is not None:  # the same signal again: a direction for its number, or too much for one term
            joined = _joined(found[before], aspect, wanted)
            if joined is None:
                ignored.append(aspect.text)
            else:
                found[before] = joined
        elif len(found) == TERMS:
            ignored.append(aspect.text)
        else:
            found.append(Understood(reading, aspect, wanted))
            decisions += [first, *rest]
            for extra, decision in mind.implied(aspect, near, found):
                if len(found) < TERMS:
                    found.append(extra)
                    decisions.append(decision)
    if not found:
        raise ManyheadsError(f"Nothing here says where that is: {goal!r}. {_measured(instance, readings)}")
    keeps = re.search(r"\b(?:keep|hold|stay|balance|still|remain|park|rest)", goal.lower())
    if parsed.held_seconds is not None and instance.step_seconds:
        held_for = min(200, max(1, round(parsed.held_seconds / instance.step_seconds)))
    else:
        held_for = parsed.held_for or (50 if keeps else 20)
        ignored += [f"for {parsed.held_seconds:g} s"] if parsed.held_seconds is not None else []
    return Understanding(tuple(found), tuple(decisions), parsed.gentle, held_for, tuple(ignored))


def _require_readable(goal: str) -> None:
    """Refuses what the rules here would read as something else, and says who reads it."""
    models = "A language model that drafts reads it: --model openai:NAME, anthropic:NAME, llm:NAME or local:FOLDER."
    if turning := turning_words(goal):
        raise ManyheadsError(f"{turning[0]!r} turns the meaning of {goal!r} in a way that isn't read here. {models}")
    if re.search(SEQUENCE, spoken(goal)):
        raise ManyheadsError(f"{goal!r} says one thing after another, which isn't read here. {models}")
    if foreign(goal):
        raise ManyheadsError(f"Only English is read here, and {goal!r} seems to be none. {models}")


def _with_their_degrees(aspect: Aspect, readings: Sequence[Reading]) -> Aspect:
    """`22 degrees` are those of a thermometer where no signal is an angle and one is described in degrees."""
    number, degree = aspect.number, stem("degrees")
    angles = any(reading.signal.unit == "rad" for reading in readings)
    described = any(degree in reading.description_stems for reading in readings)
    if number is None or number.unit != "rad" or "deg" not in number.text or angles or not described:
        return aspect
    upper = None if number.upper is None else round(math.degrees(number.upper), 9)
    plain = replace(number, value=round(math.degrees(number.value), 9), upper=upper, unit=None)
    return replace(aspect, number=plain, subject=(*aspect.subject, degree))


def _joined(one: Understood, aspect: Aspect, wanted: Wish) -> Understood | None:
    """The same demand said twice, or a number and a direction (`at 1 m, left of the centre`); None: they clash."""
    if one.wanted == wanted and aspect.number in (None, one.aspect.number):
        return one
    said, new = one.aspect.number, aspect.number
    if (said is None) == (new is None) or (one.wanted.sign and wanted.sign and one.wanted.sign != wanted.sign):
        return None
    numbered = one if said is not None else Understood(one.reading, aspect, wanted)
    return replace(numbered, wanted=replace(numbered.wanted, sign=one.wanted.sign or wanted.sign))


class _Mind:
    """The steps over one environment's signals, with the models' views of them."""

    def __init__(
        self, instance: Instance, readings: Sequence[Reading], banned: frozenset[str], model: RecordingModel
    ) -> None:
        self.instance, self.readings, self.model = instance, readings, model
        self.allowed = [reading for reading in readings if reading.name not in banned]
        self.index = Index(model.embed)
        name = instance.environment.name.rsplit("/", 1)[-1].replace("_", " ")
        own = re.findall(r"[A-Z]?[a-z]+", f"{name} {instance.environment.description}")
        self.own = frozenset(stem(word.lower()) for word in own)

    def signal(self, aspect: Aspect, near: Sequence[Near]) -> tuple[Reading, Decision]:
        """Which signal a clause is about."""
        similarity = self._similarity(aspect.text)
        votes = role_votes(near)
        options = [
            Option(r.name, r.noun, self._fit(r, aspect), 2.0 * similarity[r.name] + 1.5 * votes.get(r.role, 0.0))
            for r in self.allowed
        ]
        options = sorted(options, key=lambda o: -(o.lexicon + o.retrieval))[:CANDIDATES]
        decision = choose(self.model, aspect.text, "which signal", SIGNAL_PROMPT, options)[0]
        reading = next(r for r in self.readings if r.name == decision.answer)
        if aspect.number is not None and not fits_unit(reading, aspect):
            raise ManyheadsError(
                f"`{aspect.number.text}` in the goal fits nothing that {self.instance.environment.name} measures "
                f"(nothing is in {aspect.number.unit}). {_measured(self.instance, self.readings)}"
            )
        return reading, decision

    def side(self, reading: Reading, aspect: Aspect, near: Sequence[Near]) -> tuple[Wish, list[Decision]]:
        """On which side the signal should be, and for a motion in which direction."""
        wanted = wish(reading, aspect)
        if aspect.number is not None:
            answer = aspect.number.relation.replace("_", " ")
            return wanted, [Decision(aspect.text, "which side", answer, "R0 lexicon", 2.0, "a number was given")]
        votes = side_votes(near, reading.role)
        options = [
            Option(side, PHRASES[side], 2.5 * (side == wanted.side), votes.get(side, 0.0))
            for side in SIDES[reading.role]
            if (side != "centre" or reading.signed) and side not in OPPOSITES.get(wanted.side, ())
        ]
        decision = choose(self.model, aspect.text, "which side", _about(SIDE_PROMPT, reading), options)[0]
        if decision.is_tie:
            raise self.unclear(aspect)
        side = cast("Side", decision.answer)
        moves = side in ("fast", "moving", "slow")
        if side != wanted.side:
            wanted = Wish(side, wanted.sign if moves else 0, None)
        if not moves or wanted.limit:
            return wanted, [decision]
        way = self._way(reading, aspect, wanted.sign)
        if way is None:
            return wanted, [decision]
        return replace(wanted, sign=SIGNS[way.answer]), [decision, way]

    def _way(self, reading: Reading, aspect: Aspect, said: int) -> Decision | None:
        """In which direction it should move; None for a signal whose sign has no words."""
        axis = next((axis for axis in DIRECTIONS if axis in reading.axes), None)
        if axis is None or not reading.signed:
            return None
        ways = {0: "either way", reading.axes[axis]: WAYS[axis][0], -reading.axes[axis]: WAYS[axis][1]}
        options = [
            Option(answer, ways[sign], 2.5 * (sign == said))
            for answer, sign in SIGNS.items()
            if not said or sign != -said
        ]
        return choose(self.model, aspect.text, "which way", _about(WAY_PROMPT, reading), options)[0]

    def implied(
        self, aspect: Aspect, near: Sequence[Near], found: Sequence[Understood]
    ) -> list[tuple[Understood, Decision]]:
        """What the nearest example asks for in addition to its words, where this body as a whole is measured so."""
        best = near[0]
        if best.similarity < SURE:
            return []
        extras = []
        for choice in best.example.also:
            whole = [r for r in self.allowed if r.role == choice.role and r.name.startswith(("torso", "body", "root"))]
            taken = {one.reading.name for one in found} | {one.reading.role for one in found}
            if not whole or whole[0].name in taken or choice.role in taken:
                continue
            about = Aspect(text=best.example.goal)
            why = f"as in the example {best.example.goal!r}, similarity {best.similarity:.2f}"
            decision = Decision(
                aspect.text, "what goes with it", f"{whole[0].name} {choice.side}", "R1 retrieval", best.similarity, why
            )
            extras.append((Understood(whole[0], about, Wish(choice.side)), decision))
        return extras

    def strange_words(self, aspect: Aspect) -> tuple[str, ...]:
        """Words of a clause that nothing here is called."""
        if any(names_yes_or_no(reading, aspect) for reading in self.readings):
            return ()
        words = [root for root in aspect.subject if not is_agent(root) and root not in self.own]
        words = [root for root in words if not any(mentions(reading, root) for reading in self.readings)]
        if not words:
            return ()
        known = sorted({token for reading in self.readings for token in reading.noun.split() if len(token) > 2})
        written = {stem(token): token for token in re.findall(r"[a-z_]+", aspect.text)}
        similarity = self.model.embed([written.get(root, root) for root in words]) @ self.model.embed(known).T
        return tuple(root for root, row in zip(words, similarity, strict=True) if row.max() < ALIKE)

    def require_sense(self, goal: str, aspect: Aspect, strange: Sequence[str], near: Sequence[Near]) -> None:
        """Refuses a clause that is about nothing measured, that asks for nothing, or whose negation turns nothing."""
        known = [root for root in aspect.subject if root not in strange]
        if strange and not known:
            written = {stem(token): token for token in re.findall(r"[a-z_]+", goal.lower())}
            unknown = " ".join(written.get(root, root) for root in strange)
            raise unmeasurable(aspect.text, unknown, self.instance, self.readings)
        if any(names_yes_or_no(reading, aspect) for reading in self.readings):
            return
        says_more = len(re.findall(r"[a-z]+", aspect.text)) > 2
        guessed = self.model.trust.learned or (says_more and near[0].similarity >= SURE)
        if not demands(aspect) and (aspect.negated or not guessed):
            raise self.unclear(aspect)

    def unclear(self, aspect: Aspect) -> ManyheadsError:
        """The refusal of a clause that names something and says nothing of it."""
        return ManyheadsError(
            f"What should happen is not clear from {aspect.text!r}: say where, how fast, how high, or a number. "
            f"{_measured(self.instance, self.readings)}"
        )

    def _fit(self, reading: Reading, aspect: Aspect) -> float:
        own = replace(
            aspect, subject=tuple(root for root in aspect.subject if root not in self.own or mentions(reading, root))
        )
        return fit(reading, own)

    def _similarity(self, text: str) -> dict[str, float]:
        vectors = self.model.embed([reading.sentence for reading in self.readings])
        scores = vectors @ self.model.embed([text])[0]
        return {reading.name: float(score) for reading, score in zip(self.readings, scores, strict=True)}


def _about(prompt: str, reading: Reading) -> str:
    """A prompt about one signal, with a place for the goal."""
    return prompt.replace("{noun}", reading.noun.replace("{", "").replace("}", ""))


def _measured(instance: Instance, readings: Sequence[Reading]) -> str:
    names = ", ".join(reading.name for reading in readings)
    return f"{instance.environment.name} measures: {names}. Say the goal in terms of these."


def nothing_measured(instance: Instance) -> str:
    """Why no goal can be carried by an instance's signals, and what to do about it."""
    own: Sequence[Signal] = [signal for signal in instance.signals if signal.name != "reward"]
    name = instance.environment.name
    if own:
        return f"None of the signals of {name} can carry this goal. Write the specification by hand."
    need = instance.environment.goals_need or "Its plugin has to name its signals first (see docs/plugins.md)."
    return f"{name} measures nothing but its own reward, so a goal in words can't be checked there. {need}"
