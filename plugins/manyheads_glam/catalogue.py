"""What a signal's declaration says, read for the writer: its role, its words, and which way its values point."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from manyheads import Signal
from manyheads_glam import words
from manyheads_glam.words import POLES, names_a_part, spoken, stem, stems

Role = Literal["speed", "turning", "height", "position", "distance", "angle", "posture", "contact", "force", "other"]

SYNONYMS = {stem(other): stem(word) for word, others in words.SYNONYMS.items() for other in others.split()}
_PARTS = re.compile(r"[,;:.()]")
_TOKEN = re.compile(r"[a-z]+")
_NUMBER = r"(?P<sign>-?)(?P<value>\d+(?:\.\d+)?|pi(?: ?/ ?2)?)"
_ANCHORS = (
    re.compile(rf"^(?:[a-z ]*\b(?:about|than|below|at) )?{_NUMBER} (?:is |means |when |where |= )?(?P<words>[a-z].*)"),
    re.compile(rf"(?P<words>[a-z].*?) (?:is|at|=) {_NUMBER}\s*$"),
)
_FROM = re.compile(r"from (?:the )?(?P<word>upright|vertical|hanging)")
_DIRECTIONS = stems(words.DIRECTIONS)
_WAYS = frozenset({"lateral", "vertical", "forward", "turning", "opening"})
_AXES: Mapping[Role, frozenset[str]] = {
    "position": _WAYS,
    "speed": _WAYS,
    "turning": _WAYS,
    "angle": _WAYS | {"posture"},
    "height": _WAYS | {"posture"},
    "posture": frozenset({"posture", "vertical"}),
    "distance": frozenset(),
    "contact": frozenset(),
    "force": frozenset(),
    "other": _WAYS,
}
"""The axes that can say something about a signal in each role."""


@dataclass(frozen=True)
class Reading:
    """A signal with what its sentence says about it."""

    signal: Signal

    @property
    def name(self) -> str:
        return self.signal.name

    @cached_property
    def noun(self) -> str:
        """The name as words: `cart position`."""
        return re.sub(r"[_\s]+", " ", re.sub(r"\[(\d+)\]", r" \1", self.name)).strip()

    @cached_property
    def sentence(self) -> str:
        """Name and sentence, for the sentence encoder."""
        return f"{self.noun}: {self.signal.description}" if self.signal.description else self.noun

    @cached_property
    def name_stems(self) -> frozenset[str]:
        return frozenset(stem(token) for token in _TOKEN.findall(self.name.lower()))

    @cached_property
    def description_stems(self) -> frozenset[str]:
        return frozenset(stem(token) for token in _TOKEN.findall(self.signal.description.lower()))

    @cached_property
    def anchors(self) -> Mapping[tuple[str, int], float]:
        """Values that the sentence names: `1 straight up` gives ("vertical", 1): 1.0."""
        found: dict[tuple[str, int], float] = {}
        for part in self._parts:
            for match in filter(None, (pattern.search(part) for pattern in _ANCHORS)):
                for axis, pole in _poles(match["words"]):
                    found.setdefault((axis, pole), _value(match["sign"], match["value"]))
        zero = _FROM.search(spoken(self.signal.description))
        if zero and self.signal.unit == "rad":
            for axis, pole in POLES[stem(zero["word"])]:
                found[axis, pole] = 0.0
        for (axis, pole), value in list(found.items()):
            if axis == "posture" and self.role == "angle":
                found.setdefault(("vertical", pole), value)
        return {key: value for key, value in found.items() if key[0] in _AXES[self.role]}

    @cached_property
    def axes(self) -> Mapping[str, int]:
        """axis -> +1 where growing values mean its +1 pole, else -1."""
        found: dict[str, int] = {}
        if self.role == "posture":
            for axis in ("posture", "vertical"):
                plus, minus = self.anchors.get((axis, 1), 1.0), self.anchors.get((axis, -1), -1.0)
                found[axis] = 1 if plus >= minus else -1
        for part in self._parts:
            sign = -1 if re.search(r"\bnegative\b|\bminus\b", part) else 1
            if any(pattern.search(part) for pattern in _ANCHORS):
                continue
            for axis, pole in _poles(_FROM.sub("", part), only=_DIRECTIONS):
                found.setdefault(axis, sign * pole)
        for token in self.name_stems & _DIRECTIONS if self.role == "speed" else ():
            for axis, pole in POLES[token]:
                found.setdefault(axis, pole)
        if self.role == "height":
            found.setdefault("vertical", 1)
        return {axis: pole for axis, pole in found.items() if axis in _AXES[self.role]}

    @cached_property
    def role(self) -> Role:
        """What kind of quantity it is, from unit, name and sentence."""
        signal, text = self.signal, f"{self.noun} {self.signal.description}".lower()
        if signal.kind == "boolean" or re.search(r"\btouch\b|\bcontact\b", self.noun):
            return "contact"
        if signal.unit in ("m/s", "rad/s"):
            return "speed" if signal.unit == "m/s" else "turning"
        if re.search(r"\bvelocity\b|\bspeed\b", self.noun):
            return "turning" if re.search(r"\bangular\b", self.noun) else "speed"
        if signal.unit in ("N", "N*m"):
            return "force"
        if signal.unit == "rad":
            return "angle"
        if re.search(r"\bdist(?:ance)?\b|\bhow far\b", text) and (signal.low or 0.0) >= 0 and signal.unit in ("m", "1"):
            return "distance"
        if signal.unit == "m":
            return (
                "height"
                if re.search(r"\bheight\b|\babove\b|\bhow high\b", f"{self.noun} {self._parts[:1]}")
                else "position"
            )
        if re.search(r"\bupright\b|\bcosine\b|\bhanging\b", text):
            return "posture"
        return "position" if re.search(r"\bposition\b|\bplace\b", text) else "other"

    @property
    def signed(self) -> bool:
        """Whether both signs occur, so that zero has its own meaning."""
        low, high = self.signal.low, self.signal.high
        if self.role in ("height", "distance") and low is None:
            return "negative" in self.signal.description
        return (low is None or low < 0) and (high is None or high > 0)

    @cached_property
    def _parts(self) -> list[str]:
        text = re.sub(r"\b(?:seen )?from above\b", "", spoken(self.signal.description))
        text = re.sub(r"(?<=\d)\.(?=\d)", "§", text)
        return [part.strip().replace("§", ".") for part in _PARTS.split(text) if part.strip()]


def read(signals: Sequence[Signal]) -> list[Reading]:
    """What goals may be about: every declared signal but the simulator's reward and the controls."""
    return list(_read(tuple(signals)))


@lru_cache(maxsize=64)
def _read(signals: tuple[Signal, ...]) -> tuple[Reading, ...]:
    return tuple(Reading(s) for s in signals if s.name != "reward" and not s.name.startswith("control["))


def _poles(text: str, only: frozenset[str] | None = None) -> list[tuple[str, int]]:
    """The axes' poles that a text's words lie on, without words that only tell one part from another."""
    roots = [stem(token) for token in _TOKEN.findall(text)]
    known = POLES.keys() if only is None else only
    return [
        pair for i, root in enumerate(roots) if root in known and not names_a_part(roots, i) for pair in POLES[root]
    ]


def _value(sign: str, text: str) -> float:
    value = {"pi": math.pi}.get(text.replace(" ", ""))
    if value is None:
        value = math.pi / 2 if "pi" in text else float(text)
    return -value if sign else value
