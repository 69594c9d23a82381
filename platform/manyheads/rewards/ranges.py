"""What a specification can reach: interval arithmetic over hard ranges, erring on the wide side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from manyheads.environment.contract import Signal
from manyheads.rewards.nodes import (
    Between,
    Constant,
    Expression,
    HeldFor,
    Join,
    Not,
    Predicate,
    Rate,
    SignalValue,
    Unary,
    Window,
)
from manyheads.rewards.spec import REACH_ZERO, Indicator, Progress, Ramp, Term

Catalogue = Mapping[str, Signal]
SPRING = 0.1
"""By what share of its width a soft range gives way before something counts as out of reach."""


class Range(NamedTuple):
    """All values lie in here (not all that lie in here need occur)."""

    low: float
    high: float


class Reach(NamedTuple):
    """Whether something can be so, and whether it can be otherwise."""

    possible: bool
    avoidable: bool


def widened(catalogue: Catalogue) -> Catalogue:
    """The catalogue with soft ranges as wide as springs may let them become."""
    wide = {}
    for name, signal in catalogue.items():
        if signal.soft and signal.low is not None and signal.high is not None:
            give = SPRING * (signal.high - signal.low)
            signal = replace(signal, low=signal.low - give, high=signal.high + give)
        wide[name] = signal
    return wide


def of_expression(node: Expression, catalogue: Catalogue) -> Range:
    """The values that an expression can take."""
    if isinstance(node, SignalValue):
        signal = catalogue[node.signal]
        low, high = (0.0, 1.0) if signal.kind == "boolean" else (-math.inf, math.inf)
        return Range(low if signal.low is None else signal.low, high if signal.high is None else signal.high)
    if isinstance(node, Constant):
        return Range(node.constant, node.constant)
    if isinstance(node, Rate):
        return Range(-math.inf, math.inf)
    if isinstance(node, Window):
        return of_expression(node.of, catalogue)
    if isinstance(node, Unary):
        inner = of_expression(node.of, catalogue)
        if node.op == "abs":
            return _absolute(inner)
        if node.op == "neg":
            return Range(-inner.high, -inner.low)
        turned = -math.pi < inner.low and inner.high <= math.pi
        return inner if turned else Range(-math.pi, math.pi)
    ranges = [of_expression(child, catalogue) for child in node.of]
    if node.op == "diff":
        return _difference(ranges[0], ranges[1])
    if node.op == "dist":
        half = len(ranges) // 2
        return _norm([_difference(a, b) for a, b in zip(ranges[:half], ranges[half:], strict=True)])
    if node.op == "norm":
        return _norm(ranges)
    lows, highs = zip(*ranges, strict=True)
    if node.op == "min":
        return Range(min(lows), min(highs))
    if node.op == "max":
        return Range(max(lows), max(highs))
    return Range(sum(lows) / len(lows), sum(highs) / len(highs))


def _absolute(one: Range) -> Range:
    nearest = 0.0 if one.low <= 0 <= one.high else min(abs(one.low), abs(one.high))
    return Range(nearest, max(abs(one.low), abs(one.high)))


def _difference(a: Range, b: Range) -> Range:
    return Range(a.low - b.high, a.high - b.low)


def _norm(ranges: list[Range]) -> Range:
    sizes = [_absolute(one) for one in ranges]
    return Range(math.hypot(*(one.low for one in sizes)), math.hypot(*(one.high for one in sizes)))


def of_predicate(node: Predicate, catalogue: Catalogue) -> Reach:
    """Whether a predicate can hold, and whether it can fail."""
    if isinstance(node, Not):
        inner = of_predicate(node.of, catalogue)
        return Reach(inner.avoidable, inner.possible)
    if isinstance(node, Join):
        each = [of_predicate(child, catalogue) for child in node.of]
        if node.op == "all":
            return Reach(all(one.possible for one in each), any(one.avoidable for one in each))
        return Reach(any(one.possible for one in each), all(one.avoidable for one in each))
    if isinstance(node, HeldFor):
        return Reach(of_predicate(node.of, catalogue).possible, True)  # as an episode starts it does not hold yet
    low, high = of_expression(node.x, catalogue)
    if isinstance(node, Between):
        possible = low <= node.upper and high >= node.lower
        return Reach(possible, low < node.lower or high > node.upper)
    if node.op == "lt":
        return Reach(low < node.than, high >= node.than)
    if node.op == "le":
        return Reach(low <= node.than, high > node.than)
    if node.op == "gt":
        return Reach(high > node.than, low <= node.than)
    return Reach(high >= node.than, low < node.than)


class Pay(NamedTuple):
    """What a term's shape can pay: anything at all, everything, less than everything."""

    something: bool
    everything: bool
    less: bool


def of_term(node: Term, catalogue: Catalogue) -> Pay:
    """What a term can pay before its floor."""
    if isinstance(node.to, Indicator):
        reach = of_predicate(node.to.when, catalogue)
        return Pay(reach.possible, reach.possible, reach.avoidable)
    if isinstance(node.to, Progress):
        return Pay(True, True, True)
    assert node.x is not None  # the grammar's own check
    low, high = of_expression(node.x, catalogue)
    if isinstance(node.to, Ramp):
        # in the direction in which the ramp rises, 0 at the foot and 1 at the top
        worst, best = (low, high) if node.to.high > node.to.low else (-high, -low)
        foot, top = (node.to.low, node.to.high) if node.to.high > node.to.low else (-node.to.low, -node.to.high)
        return Pay(best > foot, best >= top, worst < top)
    lower = -math.inf if node.to.lower is None else node.to.lower
    upper = math.inf if node.to.upper is None else node.to.upper
    gap = max(lower - high, low - upper)
    ends = node.to.sigmoid in REACH_ZERO and node.to.value_at_margin == 0
    something = gap <= 0 or (node.to.margin > 0 and not (ends and gap >= node.to.margin))
    return Pay(something, gap <= 0, low < lower or high > upper)
