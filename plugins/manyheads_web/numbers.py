"""The numbers of a reward specification, as sliders: where each stands in it, what it says, and how far it may go."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from manyheads import RewardSpec, Signal, Success
from manyheads.rewards.describe import Words
from manyheads.rewards.nodes import MAX_STEPS, Between, Compare, Constant, Expression, HeldFor, Node, Window, walk
from manyheads.rewards.spec import Combine, Effort, Penalty, Progress, Ramp, Stage, Term, Tolerance
from manyheads_web.problems import Refused

SLACK = 0.25
"""how far sliders go beyond what was recorded, as a share of its range"""
STEPS = 200
"""positions of a slider, about"""
AVERAGED = ("weighted_mean", "geometric_mean")

Column = NDArray[np.float64]
Measure = Callable[[Expression], Column]
"""an expression's value along recorded rows"""


@dataclass
class Number:
    """A number that stands in one or several places of a specification."""

    label: str
    value: float
    low: float
    high: float
    step: float
    unit: str = ""
    whole: bool = False
    of: str = ""
    """the expression that it bounds, as JSON; empty where it bounds none"""
    sense: str = ""
    """in which way it bounds it"""
    paths: list[str] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """JSON-able, without what only the specification needs."""
        named = ("label", "value", "low", "high", "step", "unit", "whole", "sense")
        return {name: getattr(self, name) for name in named}


def numbers(spec: RewardSpec, signals: Sequence[Signal], measure: Measure) -> list[Number]:
    """All numbers of a specification that a person may want to move, in the order of the specification.

    A bound that reward and success share is one number. `measure` gives an expression along recorded rows.
    """
    found: dict[tuple[str, ...], Number] = {}
    for path, node in walk(spec):
        for number in _of(path, node, Words(signals), measure):
            same = (number.of, number.sense, f"{number.value:.9g}") if number.of else (number.paths[0],)
            known = found.setdefault(same, number)
            if known is not number:
                known.paths += number.paths
    for number in found.values():
        if number.of and all(path.startswith("success.") for path in number.paths):
            number.label, number.sense = f"success: {number.label}", f"success: {number.sense}"
    return list(found.values())


def changed(spec: RewardSpec, known: Sequence[Number], values: Mapping[int, float]) -> RewardSpec:
    """The specification with other values of these numbers; raises Refused where they make no sense together."""
    data = spec.model_dump(mode="json")
    for index, value in values.items():
        if not 0 <= index < len(known):
            raise Refused(f"This goal has {len(known)} numbers; there is none with the index {index}.")
        number = known[index]
        for path in number.paths:
            _set(data, path, round(value) if number.whole else value)
    try:
        return RewardSpec.model_validate_json(json.dumps(data))
    except ValidationError as error:
        problem = error.errors()[0]
        raise Refused(f"These numbers do not go together: {problem['msg']}.") from None


def _of(path: str, node: Node, words: Words, measure: Measure) -> Iterator[Number]:
    """The numbers of one node."""
    if isinstance(node, Term) and node.x is not None:
        yield from _of_shape(f"{path}.to", node, words, measure)
    elif isinstance(node, Compare):
        sense = "at least" if node.op in ("ge", "gt") else "at most"
        yield _bound(f"{path}.than", node.x, sense, node.than, words, measure)
    elif isinstance(node, Between):
        yield _bound(f"{path}.lower", node.x, "at least", node.lower, words, measure)
        yield _bound(f"{path}.upper", node.x, "at most", node.upper, words, measure)
    elif isinstance(node, Constant):
        reach = max(1.0, 3 * abs(node.constant))
        yield Number("the fixed number", node.constant, -reach, reach, _step(2 * reach), paths=[f"{path}.constant"])
    elif isinstance(node, Success):
        yield _whole(f"{path}.held_for", "success: held for", node.held_for, MAX_STEPS)
    elif isinstance(node, HeldFor):
        yield _whole(f"{path}.steps", f"{words.predicate(node.of)}, held for", node.steps, MAX_STEPS)
    elif isinstance(node, Window):
        yield _whole(f"{path}.steps", "looked at over the last", node.steps, MAX_STEPS)
    elif isinstance(node, Combine) and node.combine in AVERAGED:
        for i, child in enumerate(node.of):
            asked = words.wanted(child) if isinstance(child, Term) else "this part"
            yield Number(f"weight of: {asked}", child.weight, 0.1, 10.0, 0.1, paths=[f"{path}.of[{i}].weight"])
    elif isinstance(node, Effort):
        yield Number("cost of full control", node.weight, 0.01, 0.2, 0.01, paths=[f"{path}.weight"])
    elif isinstance(node, Penalty):
        lost = f"lost where {words.predicate(node.when)}"
        yield Number(lost, node.share, 0.01, 1.0, 0.01, paths=[f"{path}.share"])
    elif isinstance(node, Stage) and node.timeout is not None:
        yield _whole(f"{path}.timeout", "stage ends after", node.timeout, max(1000, 2 * node.timeout))


def _of_shape(path: str, term: Term, words: Words, measure: Measure) -> Iterator[Number]:
    shape, x = term.to, term.x
    assert x is not None  # asked before
    if isinstance(shape, Tolerance):
        if shape.lower is not None and shape.lower == shape.upper:
            yield _bound(f"{path}.lower", x, "at", shape.lower, words, measure, f"{path}.upper")
        else:
            if shape.lower is not None:
                yield _bound(f"{path}.lower", x, "at least", shape.lower, words, measure)
            if shape.upper is not None:
                yield _bound(f"{path}.upper", x, "at most", shape.upper, words, measure)
        if shape.margin > 0:
            low, high = _reach(x, shape.margin, measure)
            most = max(high - low, 2 * shape.margin)
            label, unit = f"{words.expression(x)}: fades out over", words.unit(x).strip()
            yield Number(label, shape.margin, _step(most), most, _step(most), unit, paths=[f"{path}.margin"])
    elif isinstance(shape, Ramp):
        yield _bound(f"{path}.low", x, "earns nothing at", shape.low, words, measure)
        yield _bound(f"{path}.high", x, "earns all at", shape.high, words, measure)
    elif isinstance(shape, Progress):
        label = f"{words.expression(x)}: earns all at a change a second of"
        yield Number(
            label, shape.scale, _step(shape.scale), 4 * shape.scale, _step(4 * shape.scale), paths=[f"{path}.scale"]
        )


def _bound(path: str, x: Expression, sense: str, value: float, words: Words, measure: Measure, *more: str) -> Number:
    """A number that an expression is held against."""
    low, high = _reach(x, value, measure)
    label = f"{words.expression(x)} {sense}"
    unit = words.unit(x).strip()
    step, of = _step(high - low), x.model_dump_json()
    return Number(label, value, low, high, step, unit, of=of, sense=sense, paths=[path, *more])


def _whole(path: str, label: str, value: int, most: int) -> Number:
    return Number(label, value, 1, most, 1, "steps", whole=True, paths=[path])


def _reach(x: Expression, value: float, measure: Measure) -> tuple[float, float]:
    """How far a number about an expression may go: what was recorded of it and some more, and where it stands now."""
    seen = measure(x)
    seen = seen[np.isfinite(seen)]
    low, high = (float(seen.min()), float(seen.max())) if len(seen) else (value, value)
    low, high = min(low, value), max(high, value)
    slack = SLACK * ((high - low) or max(abs(value), 1.0))
    low = 0.0 if low >= 0 and low - slack < 0 else low - slack
    return _even(low, high + slack)


def _even(low: float, high: float) -> tuple[float, float]:
    """The range on whole steps."""
    step = _step(high - low)
    return float(f"{math.floor(low / step) * step:.10g}"), float(f"{math.ceil(high / step) * step:.10g}")


def _step(reach: float) -> float:
    """1, 2 or 5 of a power of ten, so that about STEPS of them make the reach."""
    raw = max(reach, 1e-9) / STEPS
    power = 10.0 ** math.floor(math.log10(raw))
    return float(f"{next(n for n in (1, 2, 5, 10) if n * power >= raw * 0.999) * power:.10g}")


def _set(data: Any, path: str, value: float) -> None:
    """Puts a value where a path of `walk` leads: `reward.of[0].to.lower`."""
    *way, last = [int(part) if part.isdigit() else part for part in re.findall(r"\w+", path)]
    for part in way:
        data = data[part]
    data[last] = value
