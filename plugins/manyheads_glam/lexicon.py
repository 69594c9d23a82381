"""R0, the lexicon: a sentence to its clauses, and a clause to the aspects that it asks for, numbers parsed.

Nothing here knows an environment; what a word means for a signal's sign is the catalogue's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from manyheads_glam import words
from manyheads_glam.words import POLES, names_a_part, spoken, stem, stems

Relation = Literal["at_least", "at_most", "near", "between"]
Degree = Literal["slight", "plain", "strong", "utmost"]

_WEAK_MOTION, _MAKING_WAY = stems(words.WEAK_MOTION), stems(words.MAKING_WAY)
_FILLER, _AGENTS = stems(words.FILLER), stems(words.AGENTS)
_QUANTITIES = {quantity: stems(text) for quantity, text in words.QUANTITIES.items()}
_DEGREES: dict[Degree, frozenset[str]] = {
    "utmost": stems(words.UTMOST), "strong": stems(words.STRONG), "slight": stems(words.SLIGHT)
}  # fmt: skip
_GENTLE, _ENDS = stems(words.GENTLE), stems(words.ENDS)
_DIRECTED = frozenset({"lateral", "forward", "vertical"})
_PLACE_OF = re.compile(r"\b(?:at|on|in|near|by|to|into) the (?:[a-z]+ ){1,3}of the (?P<whole>[a-z_]+)")
_SAYING = POLES.keys() | _WEAK_MOTION | _MAKING_WAY | _GENTLE | {"centr", *"0123456789"}
"""words that make a clause of what follows `with`"""

_GOING = _WEAK_MOTION | _MAKING_WAY | stems("bring get come take carry put place set land lie sit end")
"""with one of _AT and a thing, they say where to be"""
_AT = frozenset({"to", "onto", "on", "at", "into"})
_RELATIVE = frozenset({"above", "below", "over", "under"})
_FROM_THING = re.compile(r"\s*(?:away )?(?:from|of|to) the (?P<thing>[a-z]+)")
_BOUND = r"(?:more|above|over|faster|higher|further|farther|greater|less|below|under|slower|lower|closer|fewer|up)\b"
_STEPS = re.compile(r"\bfor (?:at least )?(\d+) (?:time )?steps\b")
_SECONDS = re.compile(r"\bfor (?:at least )?(\d+(?:\.\d+)?) ?s(?:ec(?:ond)?s?)?\b")
_TURNING = stems(words.TURNING)
_UNIT = "|".join(f"(?P<u{i}>{pattern})" for i, pattern in enumerate(words.UNITS))
_WRITTEN = "|".join(sorted(map(re.escape, words.NUMBER_WORDS), key=len, reverse=True))
_VALUE = rf"(?:(?P<digits>[-+]?\d+(?:\.\d+)?|[-+]?\.\d+)|(?P<word>\b(?:{_WRITTEN})\b))"
_QUANTITY = re.compile(rf"{_VALUE}[ -]*(?:an? |of an? )?(?:(?:{_UNIT})(?![a-z/]))?", re.IGNORECASE)


@dataclass(frozen=True)
class Number:
    """A number of the sentence: `unit` is that of signals, None where none was written."""

    relation: Relation
    value: float
    unit: str | None
    text: str
    upper: float | None = None
    """the second number of `between`"""


@dataclass(frozen=True)
class Aspect:
    """One thing that a clause asks for: opposite poles by axis, or a number, of something measured."""

    text: str
    """the clause, for the models"""
    poles: Mapping[str, int] = field(default_factory=dict)
    number: Number | None = None
    degree: Degree = "plain"
    quantities: frozenset[str] = frozenset()
    subject: tuple[str, ...] = ()
    """the words that are neither filler nor in the lexicon's axes: what it is about"""
    centre: bool = False
    verb: bool = False
    """a way of going somewhere was named: walk, run, …"""
    place: Literal["", "posed", "reached"] = ""
    """it says where something should be, and another aspect of the clause which posture it has or how it gets there"""
    end: bool = False
    """an end was named, so that far is meant"""
    limit: bool = False
    """`slowly` on the way to a place: no faster, and at rest once there"""
    unsaid: tuple[str, ...] = ()
    """words that a specification can't express in addition to the rest"""
    negated: bool = False
    """`not` is said, and no number has taken it up"""
    excluded: bool = False
    """its place is where the thing should not be"""
    said: frozenset[str] = frozenset()
    """the stems of all its words"""

    @property
    def where(self) -> tuple[str, ...]:
        """The clause's words of direction."""
        tokens = re.findall(r"[a-z]+", self.text)
        return tuple(t for t in tokens if any(axis in _DIRECTED for axis, _ in POLES.get(stem(t), ())) or t == "centre")


@dataclass(frozen=True)
class Parsed:
    """What the lexicon makes of a sentence."""

    aspects: tuple[Aspect, ...]
    clauses: tuple[str, ...]
    gentle: bool = False
    held_for: int | None = None
    """steps, where the sentence says so"""
    held_seconds: float | None = None


def parse(sentence: str) -> Parsed:
    """Splits a goal into clauses and aspects; a clause without a subject or a demand borrows its neighbour's."""
    text = spoken(sentence)
    held_for = _duration(text, _STEPS)
    held_seconds = _duration(text, _SECONDS)
    text = re.sub(_SECONDS, "", re.sub(_STEPS, "", text))
    clauses = [clause for clause in _clauses(text) if stems(clause) - _FILLER - {""} or _is_ban(clause)]
    tokens = [stem(token) for token in re.findall(r"[a-z]+", text)]
    found = [list(_aspects(clause)) for clause in clauses]
    return Parsed(
        aspects=tuple(_borrow(found)),
        clauses=tuple(clauses),
        gentle=any(token in _GENTLE for token in tokens) and not _fast(found),
        held_for=None if held_for is None else min(200, max(1, round(held_for))),
        held_seconds=held_seconds,
    )


def _is_ban(clause: str) -> bool:
    """Whether words that say nothing alone are forbidden: `don't move`."""
    found = clause.split()
    return "not" in found and bool(_WEAK_MOTION & set(map(stem, found)))


def _fast(found: list[list[Aspect]]) -> bool:
    return any(aspect.poles.get("pace") == 1 for aspects in found for aspect in aspects)


def _duration(text: str, pattern: re.Pattern[str]) -> float | None:
    match = pattern.search(text)
    return float(match[1]) if match else None


def _clauses(text: str) -> list[str]:
    """Parts between commas and joining words; `with the toe` belongs to what it is said of."""
    text = re.sub(r"\bbetween ([^,;]*?\d[^,;]*?) and ", r"between \1 … ", text)
    first, *rest = re.split(rf"([,;.!?](?!\d)|\b(?:and(?! {_BOUND})|while|but|then|with|so that)\b)", text)
    clauses = [first]
    for joint, part in zip(rest[::2], rest[1::2], strict=True):
        says_something = any(stem(token) in _SAYING for token in re.findall(r"[a-z]+|\d", part))
        if joint == "with" and not says_something:
            clauses[-1] = f"{clauses[-1].rstrip()} with {part.strip()}"
        else:
            clauses.append(part)
    return [clause.replace("…", "and").strip() for clause in clauses if clause.strip()]


def _aspects(clause: str) -> Iterator[Aspect]:
    """The demands of one clause; one without a demand gives a single aspect that only has a subject."""
    number, rest = _number(clause)
    tokens = re.findall(r"[a-z_]+", rest.lower())
    stemmed = [stem(token) for token in tokens]
    poles = _poles(tokens, stemmed, goes=number is None)
    if _excludes(tokens, stemmed):
        poles.pop("nearness", None)
        poles = {axis: -pole if axis in _DIRECTED and "not" in tokens else pole for axis, pole in poles.items()}
    known = set(POLES) | _FILLER | _WEAK_MOTION | _MAKING_WAY | _GENTLE | set().union(*_DEGREES.values())
    named = known | set().union(*(_QUANTITIES[q] for q in ("speed", "turning", "height", "angle", "distance", "force")))
    subject = tuple(
        root for i, root in enumerate(stemmed) if (root not in named or names_a_part(stemmed, i)) and root != "centr"
    )
    away = _excludes(tokens, stemmed)
    whole = Aspect(
        text=clause,
        negated="not" in tokens,
        excluded=away,
        said=frozenset(stemmed),
        degree=next((degree for degree, roots in _DEGREES.items() if roots & set(stemmed)), "plain"),
        end=bool(_ENDS & set(stemmed)) and bool(poles.keys() & _DIRECTED),
        quantities=frozenset(q for q, roots in _QUANTITIES.items() if roots & set(stemmed)),
        subject=subject,
        centre="centr" in stemmed
        and not poles.keys() & {"lateral", "forward"}
        and not {"above", "below"} & set(tokens),
        verb=bool(_MAKING_WAY & set(stemmed)),
    )
    if number is not None and number.unit in ("m", "rad"):  # a place, whatever the way there is called
        whole = replace(whole, verb=False, quantities=whole.quantities - {"speed", "turning"})
        thing = _FROM_THING.match(clause.partition(number.text)[2])
        if (
            number.unit == "m"
            and thing
            and stem(thing["thing"]) not in POLES.keys() | {"centr"}
            and "centr" not in stemmed
        ):
            whole = replace(whole, quantities=whole.quantities | {"distance"})
    if "pace" in poles and number is None and (whole.end or whole.centre):
        yield from _on_the_way(whole, poles)
    else:
        yield from _separate(whole, poles, number)


def _excludes(tokens: list[str], stemmed: list[str]) -> bool:
    """Whether a place is named as one where something should not be: `away from the left end`, `not on the left`."""
    starts = [tokens.index(word) + 1 for word in ("away", "not") if word in tokens]
    after = stemmed[min(starts, default=len(stemmed)) :]
    return any(axis in _DIRECTED for root in after for axis, _ in POLES.get(root, ())) or "centr" in after


def turning_words(sentence: str) -> list[str]:
    """Words that turn a meaning in ways that nothing here reads."""
    return [token for token in re.findall(r"[a-z]+", spoken(sentence)) if stem(token) in _TURNING]


def foreign(sentence: str) -> bool:
    """Whether hardly a word of a sentence of some length is one that English sentences here have."""
    tokens = re.findall(r"[^\W\d_]+", spoken(sentence))
    known = _FILLER | POLES.keys() | _WEAK_MOTION | _MAKING_WAY | _AGENTS | _GENTLE | stems("not as slowly")
    read = sum(stem(token) in known for token in tokens)
    numbered = _number(spoken(sentence))[0]
    return len(tokens) >= 3 and read <= len(tokens) // 4 and (numbered is None or numbered.unit is None)


def _on_the_way(whole: Aspect, poles: dict[str, int]) -> Iterator[Aspect]:
    """`Slowly to the left end`: the place is the demand, slowness a limit; how fast one gets there is not paid for."""
    pace = poles.pop("pace")
    fast = tuple(word for word in re.findall(r"[a-z]+", whole.text) if ("pace", 1) in POLES.get(stem(word), ()))
    still = whole.quantities - {"speed", "turning"}
    yield replace(whole, poles=poles, quantities=still, verb=False, place="reached", unsaid=fast)
    if pace < 0:
        yield replace(whole, poles={**poles, "pace": -1}, degree="plain", centre=False, end=False, limit=True)


def _poles(tokens: list[str], stemmed: list[str], goes: bool = True) -> dict[str, int]:
    poles: dict[str, int] = {}
    flip = 1
    for i, (token, root) in enumerate(zip(tokens, stemmed, strict=True)):
        if token == "not":
            flip = -1
            continue
        if names_a_part(stemmed, i) or (i > 1 and tokens[i - 1] == "the" and tokens[i - 2] in _RELATIVE):
            continue
        if flip < 0 and root in _WEAK_MOTION | _MAKING_WAY and not _excludes(tokens, stemmed):
            poles["motion"] = -1
        for axis, pole in POLES.get(token, POLES.get(root, ())):
            if axis == "opening" and "to" in tokens[i + 1 : i + 2]:
                continue
            poles[axis] = flip * pole
            if axis == "motion" and flip < 0 and pole < 0:
                poles[axis] = 1
    at = next((i for i, token in enumerate(tokens) if token in _AT), 0)
    if goes and not poles and _GOING & set(stemmed[:at]):
        poles["nearness"] = flip
    if not poles and _WEAK_MOTION & set(stemmed):
        poles["motion"] = 1
    return poles


def _separate(whole: Aspect, poles: dict[str, int], number: Number | None) -> Iterator[Aspect]:
    """Stillness and posture are separate demands; directions and pace go together, and with the number."""
    if number is not None:
        directions = {axis: pole for axis, pole in poles.items() if axis not in ("motion", "pace", "posture", "amount")}
        about = {"posture": poles["posture"]} if "posture" in poles else {}
        yield replace(whole, number=number, poles=directions | about)
        poles = {"motion": -1} if poles.get("motion") == -1 else {}
        if not poles:
            return
    if poles.get("motion") == -1:
        yield replace(whole, poles={"motion": -1}, quantities=frozenset(), centre=False)
        del poles["motion"]
        if "posture" in poles and stems(whole.text) & stems("stand"):
            del poles["posture"]
        if not poles and not whole.centre:
            return
    if "posture" in poles:
        vertical: dict[str, int] = {axis: poles.pop(axis) for axis in ("posture", "vertical") if axis in poles}
        found = _PLACE_OF.search(whole.text) if poles or whole.centre else None
        where = (stem(found["whole"]),) if found else ()
        posed = tuple(root for root in whole.subject if root not in where)
        yield replace(whole, poles=vertical, subject=posed or whole.subject, centre=False)
        poles.pop("amount", None)
        if not poles and not whole.centre:
            return
        whole = replace(whole, subject=where or whole.subject, place="posed")
    if "vertical" in poles and "amount" in poles and poles["vertical"] != poles["amount"]:
        del poles["vertical"]
    if "lateral" in poles and "vertical" in poles and number is None:
        yield replace(whole, poles={"vertical": poles.pop("vertical")})
    yield replace(whole, poles=poles)


def _borrow(found: list[list[Aspect]]) -> Iterator[Aspect]:
    """Clauses without a demand take the next clause's (`hold the cart and the pole still`), else the one before's.

    Where things are placed together, the place is about both. Clauses without a subject speak of the one before's.
    """
    flat = [aspect for aspects in found for aspect in aspects]
    lent: tuple[str, ...] = ()
    lent_text = ""
    subject: tuple[str, ...] = ()
    for i, aspect in enumerate(flat):
        near = next((other for other in (*flat[i + 1 :], *reversed(flat[:i])) if demands(other)), None)
        if not demands(aspect) and aspect.subject and near is not None:
            lent, lent_text = aspect.subject, aspect.text
            aspect = replace(near, subject=aspect.subject, text=f"{aspect.text} ({near.text})")
        elif lent and aspect.poles.get("motion") != -1:
            aspect = replace(aspect, subject=(*lent, *aspect.subject), text=f"{lent_text} and {aspect.text}")
        subject = aspect.subject or subject
        yield replace(aspect, subject=subject)


def demands(aspect: Aspect) -> bool:
    """Whether the lexicon knows what the aspect asks for."""
    return bool(aspect.poles or aspect.number or aspect.centre or aspect.verb)


def is_agent(root: str) -> bool:
    """Whether a word's stem names the whole of what moves (`robot`, `it`)."""
    return root in _AGENTS


# --- numbers --------------------------------------------------------------------------------------------

BEFORE: tuple[tuple[Relation, str], ...] = (("at_least", words.AT_LEAST), ("at_most", words.AT_MOST))
"""words before a number"""
AFTER: tuple[tuple[Relation, str], ...] = (("at_least", words.MORE), ("at_most", words.LESS))
"""words after it"""


def _number(clause: str) -> tuple[Number | None, str]:
    """The clause's number with its relation, and the clause without their words."""
    values = [
        (match, value, unit)
        for match in _QUANTITY.finditer(clause)
        for value, unit in [_read(match)]
        if value is not None and unit not in ("s", "steps")
    ]
    if not values:
        return None, clause
    match, value, unit = values[0]
    before = clause[: match.start()]
    if len(values) > 1 and re.search(r"\b(?:between|from)\s*$", before, re.IGNORECASE):
        last, upper, upper_unit = values[1]
        start = re.search(r"\b(?:between|from)\s*$", before, re.IGNORECASE)
        unit = unit or upper_unit
        if values[0][2] is None and upper_unit is not None:
            value *= _factor(last)
        low, high = sorted((value, upper))
        rest = clause[: start.start() if start else 0] + clause[last.end() :]
        return Number("between", low, unit, clause[match.start() : last.end()], high), rest
    for relation, pattern in BEFORE:
        found = re.search(rf"(?:^|(?<=\s))(?:{pattern.replace(',', '|')})(?P<of> (?:[a-z]+ ){{1,4}}of)?\s*$", before)
        if found:
            rest = before[: found.start()] + (found["of"] or "")
            if re.search(r"\bnot\b", rest):
                relation = "at_most" if relation == "at_least" else "at_least"
                rest = re.sub(r"\bnot\b", "", rest)
            return Number(relation, value, unit, match[0].strip()), rest + clause[match.end() :]
    after = clause[match.end() :]
    for relation, pattern in AFTER:
        if found := re.match(pattern, after):
            return Number(relation, value, unit, match[0].strip()), before + after[found.end() :]
    return Number("near", value, unit, match[0].strip()), before + after


def _read(match: re.Match[str]) -> tuple[float | None, str | None]:
    """Value in the signals' unit; None for a word like `a` or `one` that no unit follows."""
    i = _unit_index(match)
    if match["word"] is not None and i is None:
        return None, None
    value = float(match["digits"]) if match["digits"] else float(words.NUMBER_WORDS[match["word"].lower()])
    if i is None:
        return value, None
    unit, factor = list(words.UNITS.values())[i]
    return value * factor, unit


def _factor(match: re.Match[str]) -> float:
    i = _unit_index(match)
    return 1.0 if i is None else list(words.UNITS.values())[i][1]


def _unit_index(match: re.Match[str]) -> int | None:
    return next((i for i in range(len(words.UNITS)) if match[f"u{i}"] is not None), None)
