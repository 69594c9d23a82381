"""Describes a reward specification in plain words, so that a person can tell whether it is what was meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from manyheads.environment.contract import Signal
from manyheads.rewards.meaning import per_second, unit_of
from manyheads.rewards.nodes import (
    Between,
    Constant,
    Expression,
    HeldFor,
    Join,
    Nary,
    Not,
    Predicate,
    Rate,
    SignalValue,
    Success,
    Unary,
    Window,
)
from manyheads.rewards.spec import (
    Combine,
    Constraint,
    Gate,
    Indicator,
    Penalty,
    Progress,
    Ramp,
    RewardSpec,
    Stage,
    Term,
    Tolerance,
    Total,
)

COMPARED = {"lt": "below", "le": "at most", "gt": "above", "ge": "at least"}
OPPOSITE = {"lt": "ge", "le": "gt", "gt": "le", "ge": "lt"}
COMBINED = {
    "product": "the product of",
    "weighted_mean": "the weighted mean of",
    "min": "the smallest of",
    "geometric_mean": "the geometric mean of",
}
TAKEN = {"mean": "the mean of", "min": "the lowest value of", "max": "the highest value of"}
LISTED = {"norm": "the length of", "min": "the smallest of", "max": "the largest of", "mean": "the mean of"}


def describe(spec: RewardSpec, signals: Sequence[Signal] = ()) -> str:
    """Several lines: one for each term, effort, success, then what the signals mean (where given)."""
    words = Words(signals)
    lines = words.stages(spec.stages) if spec.stages else words.paid("A step earns", spec.totals[0][1])
    lines += [words.constraint(constraint) for constraint in spec.constraints]
    if spec.effort is not None:
        lines.append(f"Full control inputs cost {_share(spec.effort.weight)} of it, smaller ones less.")
    if spec.success is not None:
        lines.append(f"Success: {words.success(spec.success)}.")
    used = [signal for signal in signals if signal.name in spec.signals and signal.description]
    lines += ["Signals:", *(f"  {_name(signal.name)}: {signal.description}" for signal in used)] if used else []
    return "\n".join(lines)


def summarize(spec: RewardSpec, signals: Sequence[Signal] = ()) -> str:
    """One line: what is wanted, without margins, weights and floors."""
    words = Words(signals)
    wanted = ["; ".join(words.wanted(term) for term in _terms(total)) for _, total in spec.totals]
    return "; then ".join([f"first {wanted[0]}", *wanted[1:]] if len(wanted) > 1 else wanted)


class Words:
    """Phrases for the parts of a specification over one catalogue of signals."""

    def __init__(self, signals: Sequence[Signal]) -> None:
        self.catalogue = {signal.name: signal for signal in signals}

    def paid(self, beginning: str, node: Total) -> list[str]:
        """What a total pays, after a few words."""
        first, *rest = self.total(node)
        return [f"{beginning} {first}", *rest]

    def stages(self, stages: Sequence[Stage]) -> list[str]:
        """What is to be done first, and what then."""
        count, lines = len(stages), []
        for i, stage in enumerate(stages):
            before = f"{i}/{count} plus " if i else ""
            share = f" {before}1/{count} of" if count > 1 else ""
            name = "First" if i == 0 else "Then"
            lines += self.paid(f"{name}, in stage {i + 1} of {count}, a step earns{share}", stage.reward)
            if stage.advance_when is not None:
                lines.append(f"  Stage {i + 2} begins once {self.predicate(stage.advance_when)}.")
            if stage.timeout is not None:
                onward = "stage 1" if stage.on_timeout == "restart" else f"stage {i + 2}"
                lines.append(f"  After {stage.timeout} steps in this stage, {onward} begins.")
        return lines

    def constraint(self, node: Constraint) -> str:
        """What must not be, and what it costs."""
        after = f", from step {node.grace + 1} of an episode on" if node.grace else ""
        where = f"{self.predicate(node.when)}{after}"
        if isinstance(node, Penalty):
            return f"Where {where}, {_share(node.share)} of it is lost."
        return f"Where {where}, nothing is earned." if isinstance(node, Gate) else f"The task ends where {where}."

    def total(self, node: Total) -> list[str]:
        """A term's line, or a combination's head and its indented parts."""
        if isinstance(node, Term):
            return [self.term(node)]
        weighted = node.combine in ("weighted_mean", "geometric_mean")
        lines = [f"{COMBINED[node.combine]}{_floor(node.floor)}:"]
        for child in node.of:
            first, *rest = self.total(child)
            lines.append(f"  - {first}" + (f" (weight {_number(child.weight)})" if weighted else ""))
            lines += [f"  {line}" for line in rest]
        return lines

    def term(self, node: Term) -> str:
        """What a term pays for."""
        if isinstance(node.to, Indicator):
            return f"1 while {self.predicate(node.to.when)}, else 0{_floor(node.floor)}"
        wanted = self.wanted(node)
        assert node.x is not None  # the grammar's own check
        unit = self.unit(node.x)
        if isinstance(node.to, Progress):
            rate = per_second(unit_of(node.x, self.catalogue))
            return f"{wanted}: 0 at rest, 1 at {_number(node.to.scale)} {rate or 'per second'}{_floor(node.floor)}"
        if isinstance(node.to, Ramp):
            ends = f"0 at {_number(node.to.low)}{unit}, 1 at {_number(node.to.high)}{unit}, evenly between"
            return f"{wanted}: {ends}{_floor(node.floor)}"
        if node.to.margin == 0:
            return f"{wanted}: 1 there, 0 elsewhere{_floor(node.floor)}"
        fades = f"falling to {_number(node.to.value_at_margin)} at {_number(node.to.margin)}{unit} outside it"
        return f"{wanted}: 1 there, {fades}{_floor(node.floor)}"

    def wanted(self, node: Term) -> str:
        """What a term asks for, in a few words."""
        if isinstance(node.to, Indicator):
            return self.predicate(node.to.when)
        assert node.x is not None  # the grammar's own check
        x, unit = self.expression(node.x), self.unit(node.x)
        if isinstance(node.to, Progress):
            return f"{x} {'growing' if node.to.direction == 'increase' else 'falling'}"
        if isinstance(node.to, Ramp):
            return f"{x} as {'high' if node.to.high > node.to.low else 'low'} as {_number(node.to.high)}{unit}"
        return f"{x} {_inside(node.to, unit)}"

    def success(self, node: Success) -> str:
        """When an episode succeeds."""
        held = f"for {node.held_for} steps in a row" if node.held_for > 1 else "at any step"
        return f"{self.predicate(node.when)}, {held}"

    def predicate(self, node: Predicate, negated: bool = False) -> str:
        """A condition, or its opposite."""
        if isinstance(node, Not):
            return self.predicate(node.of, not negated)
        if isinstance(node, Join):
            parts = [self._part(child, negated) for child in node.of]
            return (" and " if (node.op == "all") != negated else " or ").join(parts)
        if isinstance(node, HeldFor):
            held = f"{self._part(node.of, False)} for {node.steps} steps in a row"
            return f"not ({held})" if negated else held
        x, unit = self.expression(node.x), self.unit(node.x)
        if isinstance(node, Between):
            lower, upper = _number(node.lower), _number(node.upper)
            return f"{x} is {'not ' if negated else ''}between {lower} and {upper}{unit}"
        if self._is_boolean(node.x) and 0 < node.than < 1:
            return x if (node.op in ("gt", "ge")) != negated else f"not {x}"
        return f"{x} is {COMPARED[OPPOSITE[node.op] if negated else node.op]} {_number(node.than)}{unit}"

    def _part(self, node: Predicate, negated: bool) -> str:
        words = self.predicate(node, negated)
        while isinstance(node, Not):
            node = node.of
        return f"({words})" if isinstance(node, Join) else words

    def expression(self, node: Expression) -> str:
        """A number."""
        if isinstance(node, SignalValue):
            return _name(node.signal)
        if isinstance(node, Constant):
            return _number(node.constant) + self.unit(node)
        if isinstance(node, Unary):
            inner = self.expression(node.of)
            if node.op == "wrap_angle" and isinstance(node.of, Nary) and node.of.op == "diff":
                return "the turn of {} from {}".format(*map(self.expression, node.of.of))
            return {"abs": f"the size of {inner}", "neg": f"minus {inner}", "wrap_angle": inner}[node.op]
        if isinstance(node, Rate):
            return f"the rate of {self.expression(node.of)}"
        if isinstance(node, Window):
            return f"{TAKEN[node.take]} {self.expression(node.of)} over the last {node.steps} steps"
        parts = [self.expression(child) for child in node.of]
        if node.op == "diff":
            return f"({parts[0]} minus {parts[1]})"
        if node.op == "dist":
            half = len(parts) // 2
            return f"the distance from ({', '.join(parts[:half])}) to ({', '.join(parts[half:])})"
        return f"{LISTED[node.op]} ({', '.join(parts)})"

    def unit(self, node: Expression) -> str:
        """An expression's unit, to put behind a number."""
        unit = unit_of(node, self.catalogue)
        return "" if unit in (None, "1") else f" {unit}"

    def _is_boolean(self, node: Expression) -> bool:
        signal = self.catalogue.get(node.signal) if isinstance(node, SignalValue) else None
        return signal is not None and signal.kind == "boolean"


def _inside(shape: Tolerance, unit: str) -> str:
    if shape.lower is None:
        return f"at most {_number(shape.upper)}{unit}"
    if shape.upper is None:
        return f"at least {_number(shape.lower)}{unit}"
    if shape.lower == shape.upper:
        return f"at {_number(shape.lower)}{unit}"
    return f"between {_number(shape.lower)} and {_number(shape.upper)}{unit}"


def _terms(node: Total) -> Iterator[Term]:
    if isinstance(node, Combine):
        for child in node.of:
            yield from _terms(child)
    else:
        yield node


def _floor(floor: float) -> str:
    return f", never less than {_number(floor)}" if floor else ""


def _share(value: float) -> str:
    return f"{_number(100 * value)}%"


def _number(value: float | None) -> str:
    return f"{value:.4g}"


def _name(signal: str) -> str:
    """`torso_height` as a person writes it; parts keep their index."""
    return signal.replace("_", " ")
