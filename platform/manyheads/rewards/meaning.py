"""What a specification means against an environment's signals: names, units, reach (level L2)."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from functools import partial

from manyheads.rewards import ranges
from manyheads.rewards.finding import Finding
from manyheads.rewards.nodes import (
    Between,
    Compare,
    Constant,
    Expression,
    Nary,
    Node,
    Predicate,
    Rate,
    SignalValue,
    Success,
    Unary,
    walk,
)
from manyheads.rewards.spec import AnyConstraint, Indicator, Stage, Term


def unknown_signals(root: Node, catalogue: ranges.Catalogue) -> Iterator[Finding]:
    """Names that the environment does not measure."""
    for path, node in walk(root):
        if isinstance(node, SignalValue) and node.signal not in catalogue:
            near = get_close_matches(node.signal, catalogue, n=3, cutoff=0.5)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(catalogue)}."
            message = f"This environment measures no signal {node.signal!r}. {hint}"
            yield Finding("L2_UNKNOWN_SIGNAL", "error", path, message)


def units(root: Node, catalogue: ranges.Catalogue) -> Iterator[Finding]:
    """Expressions that mix units, and differences of angles that jump."""
    wraps = [node for _, node in walk(root) if isinstance(node, Unary) and node.op == "wrap_angle"]
    for path, node in walk(root):
        if isinstance(node, Nary):
            used = {unit for child in node.of if (unit := unit_of(child, catalogue)) is not None}
            if len(used) > 1:
                message = f"`{node.op}` needs one unit; its expressions are in {', '.join(sorted(used))}."
                yield Finding("L2_UNIT", "error", path, message)
            angles = [c for c in node.of if isinstance(c, SignalValue) and catalogue[c.signal].kind == "angle"]
            if node.op == "diff" and angles and not any(wrap.of is node for wrap in wraps):
                message = "A difference of angles jumps by a full turn; put `wrap_angle` around it."
                yield Finding("L2_ANGLE", "warning", path, message)
        if isinstance(node, Unary) and node.op == "wrap_angle":
            unit = unit_of(node.of, catalogue)
            if unit not in ("rad", None):
                yield Finding("L2_UNIT", "error", path, f"`wrap_angle` needs an angle in rad; this is in {unit}.")
        if isinstance(node, Rate) and isinstance(node.of, SignalValue) and catalogue[node.of.signal].kind == "angle":
            message = "The rate of an angle jumps where it goes through a full turn; put `wrap_angle` inside."
            yield Finding("L2_ANGLE", "warning", path, message)


def unit_of(node: Expression, catalogue: ranges.Catalogue) -> str | None:
    """The unit of an expression's value, by its first signal; None for constants, which take any unit."""
    if isinstance(node, SignalValue):
        return catalogue[node.signal].unit if node.signal in catalogue else None
    if isinstance(node, Constant):
        return None
    if isinstance(node, Rate):
        return per_second(unit_of(node.of, catalogue))
    children = node.of if isinstance(node, Nary) else [node.of]
    return next((unit for child in children if (unit := unit_of(child, catalogue)) is not None), None)


def per_second(unit: str | None) -> str | None:
    """The unit of something's change per second."""
    if unit is None:
        return None
    return {"1": "1/s", "s": "1", "m/s": "m/s^2", "rad/s": "rad/s^2"}.get(unit, f"{unit}/s")


def reach(root: Node, catalogue: ranges.Catalogue) -> Iterator[Finding]:
    """What can never or must always hold, given the signals' hard ranges."""
    wide = ranges.widened(catalogue)
    for path, node in walk(root):
        if isinstance(node, Term):
            pay = ranges.of_term(node, wide)
            where = "" if isinstance(node.to, Indicator) or node.x is None else _range(node.x, catalogue)
            if not pay.something:
                yield Finding("L2_UNREACHABLE", "error", path, f"This term can never pay anything. {where}".strip())
            elif not pay.everything:
                yield Finding("L2_UNREACHABLE", "warning", path, f"This term can never pay in full. {where}".strip())
            elif not pay.less:
                yield Finding("L2_TRIVIAL", "warning", path, f"This term always pays in full. {where}".strip())
        for name, when in conditions(node):
            can = ranges.of_predicate(when, wide)
            at = f"{path}.{name}" if path else name
            if not can.possible:
                yield (idle if isinstance(node, AnyConstraint) else never)(at, _why(when, catalogue, "never"))
            elif not can.avoidable:
                yield (never if isinstance(node, AnyConstraint) else idle)(at, _why(when, catalogue, "always"))


never = partial(Finding, "L2_UNREACHABLE", "error")
"""What was meant can't happen."""
idle = partial(Finding, "L2_TRIVIAL", "warning")
"""It makes no difference."""


def conditions(node: Node) -> Iterator[tuple[str, Predicate]]:
    """The conditions that a node itself sets: of success, of a constraint, to leave a stage."""
    if isinstance(node, (Success, AnyConstraint)):
        yield "when", node.when
    elif isinstance(node, Stage) and node.advance_when is not None:
        yield "advance_when", node.advance_when


def _why(node: Predicate, catalogue: ranges.Catalogue, when: str) -> str:
    read = [inner.x for _, inner in walk(node) if isinstance(inner, (Compare, Between))]
    return f"This {when} holds. {' '.join(dict.fromkeys(_range(x, catalogue) for x in read))}"


def _range(x: Expression, catalogue: ranges.Catalogue) -> str:
    low, high = ranges.of_expression(x, catalogue)
    unit = unit_of(x, catalogue)
    name = x.signal if isinstance(x, SignalValue) else "Its expression"
    return f"{name} lies in [{low:g}, {high:g}]{f' {unit}' if unit not in (None, '1') else ''}."
