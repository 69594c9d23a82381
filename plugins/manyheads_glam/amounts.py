"""How much: the numbers of a specification, each from the sentence, a measured or a declared range, or zero.

No language model writes a number. What a word like `fast` stands for is a fixed share of a signal's range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from manyheads import ManyheadsError
from manyheads.rewards.document import MAX_NUMBER
from manyheads_glam.catalogue import Reading
from manyheads_glam.evidence import Wish
from manyheads_glam.lexicon import Aspect, Degree, Number
from manyheads_glam.words import SCALES

QUANTILES = (0.01, 0.03, 0.15, 0.35, 0.5, 0.65, 0.85, 0.97, 0.99)
FAR: Mapping[Degree, float] = {"slight": 0.2, "plain": 0.5, "strong": 0.8, "utmost": 0.95}
"""how far towards the end of its range a signal should go"""
RANK: Mapping[Degree, float] = {"slight": 0.65, "plain": 0.85, "strong": 0.97, "utmost": 0.99}
"""the same as a quantile of what was measured"""
POSTURE: Mapping[Degree, float] = {"slight": 0.5, "plain": 0.9, "strong": 0.97, "utmost": 0.99}
PACE: Mapping[Degree, float] = {"slight": 0.5, "plain": 0.75, "strong": 0.9, "utmost": 1.0}
"""`fast`, as a share of the fastest"""


@dataclass(frozen=True)
class MeasuredRange:
    """What a world's experience says of one signal."""

    quantiles: Mapping[float, float]
    size: float
    """the 95% quantile of its absolute value"""


def measure(columns: Mapping[str, np.ndarray]) -> dict[str, MeasuredRange]:
    """Quantiles of every signal over all rows of a world's experience."""
    found = {}
    for name, column in columns.items():
        values = np.asarray(column, dtype=np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            quantiles = dict(zip(QUANTILES, map(float, np.quantile(values, QUANTILES)), strict=True))
            found[name] = MeasuredRange(quantiles, float(np.quantile(np.abs(values), 0.95)))
    return found


@dataclass(frozen=True)
class Target:
    """Where a signal should be: inside [lower, upper], reward falling to a tenth at `margin` outside it.

    `of` says of what: the value, its size, or its turn away from `anchor`. With `rising`, reward also grows evenly
    up to the bound instead of being full inside.
    """

    lower: float | None
    upper: float | None
    margin: float
    origin: str
    of: str = "value"
    anchor: float = 0.0
    rising: bool = False
    exact: bool = False
    """the numbers are the sentence's own: success takes them to the letter"""


@dataclass(frozen=True)
class Extent:
    """The range that shares are taken of, and where it comes from."""

    low: float
    high: float
    origin: str

    @property
    def width(self) -> float:
        return self.high - self.low


def extent(reading: Reading, measured: MeasuredRange | None, declared_first: bool = False) -> Extent:
    """A signal's range: measured, else declared, else values its sentence names, else its unit's usual scale."""
    signal = reading.signal
    declared = signal.low is not None and signal.high is not None and signal.high > signal.low
    if measured is not None and not (declared and declared_first):
        low, high = measured.quantiles[0.01], measured.quantiles[0.99]
        if high - low > 1e-6:
            return Extent(low, high, "measured range")
    if declared:
        return Extent(float(signal.low or 0.0), float(signal.high or 0.0), "declared range")
    named = max((abs(value) for value in reading.anchors.values()), default=0.0)
    scale = named or SCALES[signal.unit]
    origin = "range that its description names" if named else f"usual scale of {signal.unit}"
    unsigned = (signal.low is not None and signal.low >= 0) or not reading.signed
    return Extent(0.0 if unsigned else -scale, scale, origin)


def target(reading: Reading, aspect: Aspect, wanted: Wish, measured: MeasuredRange | None) -> Target:
    """The numbers for one signal's side; raises ManyheadsError where the sentence's number cannot be."""
    if aspect.number is not None:
        return _said(reading, _of_the_range(reading, aspect.number, wanted, measured), wanted, measured, aspect)
    if wanted.excluded:
        return _elsewhere(reading, target(reading, aspect, replace(wanted, excluded=False), measured))
    if wanted.side == "centre":
        return _at(reading, wanted.anchor or 0.0, measured, "physical zero" if not wanted.anchor else "its description")
    if wanted.side in ("fast", "moving", "slow", "still"):
        return _rate(reading, aspect.degree, wanted, measured)
    far = aspect.end and aspect.degree == "plain" and reading.role in ("position", "height")
    found = _extreme(reading, "strong" if far else aspect.degree, wanted, measured)
    return _sideways(found, aspect.degree) if reading.signal.kind == "angle" and wanted.sign else found


def _elsewhere(reading: Reading, place: Target) -> Target:
    """All but a place; raises ManyheadsError for one that lies between others."""
    if (place.lower is None) == (place.upper is None):
        raise ManyheadsError(
            f"To keep away from a place in the middle of {reading.noun} has two sides. Say on which side it should be."
        )
    gap = 0.1 * place.margin
    lower = None if place.upper is None else place.upper + gap
    upper = None if place.lower is None else place.lower - gap
    return Target(lower, upper, place.margin, f"anywhere but there: {place.origin}", of=place.of, anchor=place.anchor)


def _of_the_range(reading: Reading, number: Number, wanted: Wish, measured: MeasuredRange | None) -> Number:
    """A share (`90%`) as a number of the signal's unit: of its range, or for a motion of its largest size."""
    if number.unit != "share":
        return number
    reach = extent(reading, measured, declared_first=True)
    if reading.role in ("speed", "turning"):
        base, width = 0.0, measured.size if measured is not None else max(abs(reach.low), abs(reach.high))
    elif reading.signed and wanted.sign:
        base, width = 0.0, reach.high if wanted.sign > 0 else -reach.low
    else:
        base, width = reach.low, reach.width
    upper = None if number.upper is None else base + number.upper * width
    return replace(number, value=base + number.value * width, upper=upper, unit=None)


def _at(reading: Reading, value: float, measured: MeasuredRange | None, origin: str) -> Target:
    reach = extent(reading, measured, declared_first=True)
    half, margin = 0.05 * reach.width, _margin(value, value, reading, measured, 0.25)
    origin = f"{value:g}: {origin}; 5% of the {reach.origin} to either side"
    if reading.signal.kind == "angle" and value:
        return Target(-half, half, margin, origin, of="turn", anchor=value)
    return Target(value - half, value + half, margin, origin)


def _margin(
    lower: float | None, upper: float | None, reading: Reading, measured: MeasuredRange | None, share: float
) -> float:
    """A share of the measured range and the way from there to the bounds; without one, of the declared range."""
    if measured is None:
        return share * extent(reading, None).width
    low, high = measured.quantiles[0.01], measured.quantiles[0.99]
    if high - low <= 1e-6:
        return share * extent(reading, None).width
    way = max(0.0 if lower is None else lower - high, 0.0 if upper is None else low - upper, 0.0)
    return share * (high - low) + way


def _rate(reading: Reading, degree: Degree, wanted: Wish, measured: MeasuredRange | None) -> Target:
    signal = reading.signal
    if measured is not None and measured.size > 1e-6:
        size, source = measured.size, "measured 95% quantile of its size"
    else:
        reach = extent(reading, None)
        size, source = max(abs(reach.low), abs(reach.high)), f"end of the {reach.origin}"
    if wanted.side == "still":
        share = 0.05 if degree != "utmost" else 0.02
        return Target(-share * size, share * size, 0.5 * size, f"physical zero, to {share:.0%} of the {source}")
    if wanted.side == "slow":
        low, high = (0.05, 0.25) if degree in ("plain", "slight") else (0.02, 0.12)
        if wanted.limit:
            return Target(None, high * size, 0.25 * size, f"no more than {high:.0%} of the {source}", of="size")
        origin = f"{low:.0%} to {high:.0%} of the {source}"
        return _directed(low * size, high * size, 0.25 * size, origin, wanted.sign)
    share = PACE[degree] if wanted.side == "fast" else 0.4
    if degree == "utmost" and signal.low is not None and signal.high is not None:
        size, source = max(abs(signal.low), abs(signal.high)), "end of the declared range"
    origin = f"{share:.0%} of the {source}"
    return _directed(share * size, None, share * size, origin, wanted.sign, rising=degree == "utmost")


def _directed(
    lower: float | None,
    upper: float | None,
    margin: float,
    origin: str,
    sign: int,
    rising: bool = False,
    exact: bool = False,
) -> Target:
    """Bounds along a direction: +1, -1, or 0 for the size alone."""
    if sign < 0:
        lower, upper = (None if upper is None else -upper), (None if lower is None else -lower)
    of = "size" if sign == 0 else "value"
    return Target(lower, upper, margin, origin, of=of, rising=rising, exact=exact)


def _extreme(reading: Reading, degree: Degree, wanted: Wish, measured: MeasuredRange | None) -> Target:
    high = wanted.side == "high"
    if reading.role == "contact":
        return _contact(reading, high)
    declared = extent(reading, None)
    if reading.role == "posture":
        share = POSTURE[degree]
        bound = _between(declared, share if high else -share)
        return _beyond(bound, declared, high, f"{share:.0%} towards the end of the {declared.origin}", degree)
    from_zero = reading.signed and bool(wanted.sign)
    if measured is not None:
        reach = extent(reading, measured)
        rank = RANK[degree] if high else 1 - RANK[degree]
        bound = measured.quantiles[min(QUANTILES, key=lambda q: abs(q - rank))]
        if reading.role == "distance" and not high:
            bound = measured.quantiles[0.03]
        enough = 0.1 * max(abs(declared.low), abs(declared.high))
        far = FAR[degree] * max(abs(declared.low), abs(declared.high)) if from_zero else math.inf
        if reach.width > 1e-6 and (not from_zero or enough <= (bound if high else -bound) <= far):
            return _beyond(bound, reach, high, f"measured {rank:.0%} quantile", degree)
    share = FAR[degree] * (0.5 if reading.signal.kind == "angle" else 1.0)  # a quarter of a turn is far already
    if reading.role == "distance" and not high:
        share = 0.9
    if from_zero:
        bound = share * (declared.high if high else declared.low)
        return _beyond(bound, declared, high, f"{share:.0%} of the {declared.origin} on that side", degree)
    bound = _between(declared, share if high else -share)
    return _beyond(bound, declared, high, f"{share:.0%} towards the end of the {declared.origin}", degree)


def _sideways(found: Target, degree: Degree) -> Target:
    """A side of an angle that goes round ends before half a turn, which is on neither side; `slightly` ends sooner."""
    bound = found.upper if found.lower is None else found.lower
    assert bound is not None  # a target has at least one bound
    near = abs(bound)
    far = math.pi / 4 if degree == "slight" else math.pi - near
    half = max(0.5 * (far - near), 0.1 * math.pi)
    origin = f"from {found.origin} to {'an eighth of a turn' if degree == 'slight' else 'as far from half a turn'}"
    return Target(-half, half, math.pi / 2, origin, of="turn", anchor=math.copysign(0.5 * (near + far), bound))


def _between(reach: Extent, share: float) -> float:
    """-1: the low end, 0: the middle, 1: the high end"""
    return reach.low + (0.5 + 0.5 * share) * reach.width


def _beyond(bound: float, reach: Extent, high: bool, origin: str, degree: Degree) -> Target:
    other = reach.low if high else reach.high
    margin = 0.5 * max(abs(bound - other), 0.2 * reach.width)
    lower, upper = (bound, None) if high else (None, bound)
    return Target(lower, upper, margin, origin, rising=degree == "utmost")


def _contact(reading: Reading, touching: bool) -> Target:
    if reading.signal.kind == "boolean" or reading.signal.high == 1.0:
        return Target(0.5 if touching else None, None if touching else 0.5, 0.5, "yes or no")
    small = 0.01 * SCALES[reading.signal.unit]
    origin = f"physical zero, to 1% of the usual scale of {reading.signal.unit}"
    return Target(small if touching else None, None if touching else small, small, origin)


def _said(reading: Reading, number: Number, wanted: Wish, measured: MeasuredRange | None, aspect: Aspect) -> Target:
    """A number of the sentence, with the sign of the direction that it was said with."""
    value, upper = number.value, number.upper
    origin = f"`{number.text}` in the sentence"
    reach = extent(reading, measured, declared_first=True)
    if reading.role == "posture" and number.unit == "rad":
        return _cosine(value, wanted, origin, number.text)
    if wanted.anchor is not None and number.relation == "at_most":
        of = "turn" if reading.signal.kind == "angle" and wanted.anchor else "value"
        middle = 0.0 if of == "turn" else wanted.anchor
        margin = _margin(middle - value, middle + value, reading, measured, 0.5)
        return Target(middle - value, middle + value, margin, origin, of, wanted.anchor, exact=True)
    directed = reading.signed and reading.role != "height" and value >= 0
    sign = wanted.sign if directed else 0
    if directed and not sign and reading.role == "speed":
        sign = reading.axes.get("forward", 0)
    lower: float | None
    top: float | None
    if number.relation == "between" and upper is not None:
        lower, top = value, upper
    elif number.relation == "at_least":
        lower, top = value, None
    elif number.relation == "at_most":
        lower, top = (0.0 if sign else None), value
    else:
        half = 0.05 * reach.width
        lower, top = value - half, value + half
        origin += f"; 5% of the {reach.origin} to either side"
    margin = _margin(lower, top, reading, measured, 0.5)
    if not directed or (number.relation == "near" and not sign and reading.role not in ("speed", "turning")):
        made = Target(lower, top, margin, origin, exact=True)
    else:
        made = _directed(lower, top, margin, origin, sign, exact=True)
    _require_reach(reading, number, made)
    return made


def _cosine(angle: float, wanted: Wish, origin: str, text: str) -> Target:
    up = wanted.side != "low"
    bound = math.cos(angle) if up else -math.cos(angle)
    origin += f", as a cosine ({text} from {'upright' if up else 'hanging'})"
    return Target(bound if up else None, None if up else bound, 1.0, origin, exact=True)


def _require_reach(reading: Reading, number: Number, made: Target) -> None:
    """Refuses a number that lies wholly outside of what the signal can be."""
    low, high = reading.signal.low, reading.signal.high
    if made.of == "size":
        low, high = 0.0, None if low is None or high is None else max(abs(low), abs(high))
    if max(abs(end) for end in (made.lower, made.upper, 0.0) if end is not None) > MAX_NUMBER:
        raise ManyheadsError(f"`{number.text}` is too much: numbers of a reward lie within ±{MAX_NUMBER:,.0f}.")
    over = high is not None and made.lower is not None and made.lower > high
    under = low is not None and made.upper is not None and made.upper < low
    if over or under:
        raise ManyheadsError(
            f"`{number.text}` can't be reached: {reading.noun} lies between {low} and {high} {reading.signal.unit}. "
            "Give a number inside."
        )
