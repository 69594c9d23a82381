"""R0 evidence: how well a signal, and a side of it, fit what the lexicon read in a clause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from manyheads_glam.catalogue import SYNONYMS, Reading, Role
from manyheads_glam.lexicon import Aspect, is_agent
from manyheads_glam.words import POLES, stems

Side = Literal["high", "low", "centre", "fast", "moving", "slow", "still"]

SIDES: Mapping[Role, tuple[Side, ...]] = {
    "speed": ("fast", "moving", "slow", "still"),
    "turning": ("fast", "moving", "slow", "still"),
    "position": ("high", "low", "centre"),
    "angle": ("high", "low", "centre"),
    "height": ("high", "low"),
    "posture": ("high", "low"),
    "distance": ("high", "low"),
    "contact": ("high", "low"),
    "force": ("high", "low"),
    "other": ("high", "low", "centre"),
}
"""The sides that can be asked for, by a signal's role."""

OPPOSITES: Mapping[Side | None, tuple[Side, ...]] = {
    "high": ("low",),
    "low": ("high",),
    "fast": ("slow", "still"),
    "moving": ("still",),
    "slow": ("fast",),
    "still": ("fast", "moving"),
}
"""What no model may make of a side that the words name."""

DIRECTIONS = ("lateral", "forward", "vertical", "turning", "opening")
PLACES = frozenset({"lateral", "forward", "vertical"})
"""The axes whose words name places, which can be excluded."""
WAYS: Mapping[str, tuple[str, str]] = {
    "lateral": ("to the right", "to the left"),
    "forward": ("forward", "backward"),
    "vertical": ("up", "down"),
    "turning": ("counterclockwise", "clockwise"),
    "opening": ("open", "closed"),
}
"""How the two directions of an axis are said, its +1 pole first."""
_GENERAL = stems(
    "position velocity angle angular cosine upright height distance speed horizontal vertical to at in touch contact "
    "turning torso body root x y z com"
)
"""Words of signals' names that tell no part of the thing from another."""


@dataclass(frozen=True)
class Wish:
    """What the lexicon alone would ask of a signal: a side, a direction (0: either), or a place to be at."""

    side: Side | None = None
    sign: int = 0
    anchor: float | None = None
    limit: bool = False
    """`slow` as a limit alone: standing still is as good"""
    excluded: bool = False
    """anywhere but on this side"""


def names_yes_or_no(reading: Reading, aspect: Aspect) -> int:
    """Whether a clause names what a boolean signal says: +1, or -1 where it says that it should not be; else 0.

    All words of the signal's name have to be said, or one that no other kind of word explains: `crashed` by `crash`,
    `door_locked` by `unlock the door` (-1).
    """
    if reading.signal.kind != "boolean":
        return 0
    said = {other for root in aspect.said for other in (root, SYNONYMS.get(root, root))}
    undone = {root.removeprefix("un") for root in said if root.startswith("un")}
    undone |= {name for name in reading.name_stems if any(_opposite(name, root) for root in said - {name})}
    names = reading.name_stems
    if not names <= said | undone:
        return 0
    return -1 if (aspect.negated or "away" in said) != bool(names & undone - said) else 1


def _opposite(root: str, other: str) -> bool:
    """Whether two words lie on opposite poles of an axis."""
    return any((axis, -pole) in POLES.get(other, ()) for axis, pole in POLES.get(root, ()))


def wish(reading: Reading, aspect: Aspect) -> Wish:
    """Translates a clause's poles into a side of this signal, by the signal's own sign conventions."""
    if yes := names_yes_or_no(reading, aspect):
        return Wish("high" if yes > 0 else "low", yes)
    if not aspect.excluded:
        return _wish(reading, aspect)
    if reading.role in ("position", "height", "angle"):
        found = _wish(reading, aspect)
        return replace(found, excluded=found.side is not None)
    turned = {axis: -pole if axis in PLACES else pole for axis, pole in aspect.poles.items()}
    return _wish(reading, replace(aspect, poles=turned))


def _wish(reading: Reading, aspect: Aspect) -> Wish:
    poles, axes, role = aspect.poles, reading.axes, reading.role
    sign = next((poles[axis] * axes[axis] for axis in DIRECTIONS if axis in poles and axis in axes), 0)
    amount = poles.get("amount", 0)
    if role in ("speed", "turning"):
        if poles.get("motion") == -1:
            return Wish("still")
        if not sign and aspect.verb:
            sign = axes.get("forward", 0)
        pace = poles.get("pace", amount)
        if pace:
            return Wish("fast" if pace > 0 else "slow", sign, limit=aspect.limit)
        return Wish("moving", sign) if sign or aspect.verb or poles.get("motion") == 1 else Wish()
    if poles.keys() & {"pace", "motion"} or (aspect.verb and not poles.keys() & {"vertical", "nearness"}):
        return Wish()
    if role == "distance":
        near = poles.get("nearness", 0) or -amount
        return Wish("low" if near > 0 else "high") if near else Wish()
    if role in ("contact", "force"):
        up = poles.get("nearness", 0) or amount
        return Wish("high" if up > 0 else "low") if up else Wish()
    for axis in ("posture", *DIRECTIONS):
        anchor = reading.anchors.get((axis, poles.get(axis, 0)))
        if role in ("angle", "position") and anchor is not None:
            return Wish("centre", 0, anchor)
    if role == "posture":
        sign = poles.get("posture", poles.get("vertical", 0)) * axes.get("posture", 1)
    if role == "height" and not sign and "posture" not in poles:
        sign = amount
    if role == "angle" and not sign and amount and "angle" in aspect.quantities:
        if amount < 0 and reading.signed:
            return Wish("centre", 0, 0.0)
        sign = amount
    if aspect.centre and not sign and reading.signed and role != "posture":
        return Wish("centre", 0, 0.0)
    return Wish("high" if sign > 0 else "low", sign) if sign else Wish()


def fit(reading: Reading, aspect: Aspect) -> float:
    """How well a signal fits a clause; an impossible unit counts as -6."""
    wanted = wish(reading, aspect)
    score = _naming(reading, aspect) + _kind(reading.role, aspect)
    if reading.role == "speed" and set(reading.axes) == {"vertical"} and "vertical" not in aspect.poles:
        score -= 0.8
    if aspect.number is not None and aspect.number.unit not in (None, "share", reading.signal.unit):
        score += 0.3 if fits_unit(reading, aspect) else -6.0
    if names_yes_or_no(reading, aspect):
        score += 2.0 + 0.5 * len(reading.name_stems)
    if wanted.side is not None:
        score += 1.5 + (0.5 if wanted.sign or wanted.anchor is not None else 0.0)
    elif aspect.poles or aspect.centre or aspect.verb:
        score -= 1.5
    elif aspect.number is not None and aspect.number.unit is not None:
        score += 0.5
    return score


def fits_unit(reading: Reading, aspect: Aspect) -> bool:
    """Whether the clause's number can be one of this signal: by its unit, or as the angle of a posture."""
    if aspect.number is None or aspect.number.unit in (None, "share", reading.signal.unit):
        return True
    leans = aspect.poles.keys() & {"lateral", "forward"}  # which a cosine can't tell
    return reading.role == "posture" and aspect.number.unit == "rad" and "posture" in aspect.poles and not leans


def mentions(reading: Reading, root: str) -> float:
    """How clearly a word's stem names a signal: in its name, or only in its sentence."""
    for word in {root, SYNONYMS.get(root, root)}:
        if word in reading.name_stems:
            return 1.0
    return 0.5 if {root, SYNONYMS.get(root, root)} & reading.description_stems else 0.0


def _naming(reading: Reading, aspect: Aspect) -> float:
    """Words of the clause that name the signal, less the parts that the signal is about and the clause is not."""
    named = [root for root in aspect.subject if not is_agent(root)]
    said = set(named) | {SYNONYMS.get(root, root) for root in named}
    strange = len((reading.name_stems - _GENERAL) - said)
    missing = sum(mentions(reading, root) == 0 for root in named)
    return 1.5 * sum(mentions(reading, root) for root in named) - 0.4 * strange - 0.5 * missing


def _kind(role: Role, aspect: Aspect) -> float:
    """How well the kind of quantity fits the words."""
    poles, score = aspect.poles, 0.0
    moving = aspect.quantities & {"speed", "turning"} or poles.keys() & {"pace", "motion"}
    if aspect.quantities & {"speed", "turning", "height", "angle", "distance", "contact", "force", "position"}:
        score += 0.8 if role in aspect.quantities else 0.0
    if role in ("speed", "turning"):
        score += 1.0 if moving else -0.8
        score += 0.3 if role == "speed" and "forward" in poles else 0.0
    elif moving:
        score -= 1.5
    if "posture" in poles:
        score += {"posture": 1.5, "angle": 0.4, "height": 0.2}.get(role, -0.5)
    if "nearness" in poles:
        score += {"distance": 1.5, "contact": 0.5}.get(role, -0.5)
    if "vertical" in poles and not moving:
        score += {"height": 0.8, "posture": 0.4}.get(role, 0.0)
    if "lateral" in poles and not moving:
        score += {"position": 1.2}.get(role, 0.0)
    if "forward" in poles and "angle" not in aspect.quantities:
        score += {"speed": 0.8, "position": 0.4}.get(role, 0.0)
    if aspect.place == "posed":
        score += {"position": 1.0, "height": 0.0}.get(role, -4.0)
    if "angle" in aspect.quantities and not moving:
        score += 0.0 if role in ("angle", "posture") else -1.0
    if aspect.centre:
        score += {"position": 1.6, "angle": 0.0 if "angle" in aspect.quantities else -3.0}.get(role, 0.0)
    return score
