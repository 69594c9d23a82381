"""Evaluates the parts of a reward specification row by row, on tensors of any one shape, in float64.

No string is evaluated. The value of a node that depends on earlier rows comes from `memory`, and is found among the
signals under the node's key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from manyheads.errors import ManyheadsError, unknown
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
from manyheads.rewards.spec import Combine, Effort, Indicator, Progress, Ramp, Term, Tolerance, Total, control_names

Signals = Mapping[str, Tensor]
FAR = 1e30
"""Signals are clipped here: squares and differences of them stay finite."""


def ease(effort: Effort, signals: Signals) -> Tensor:
    """The factor for small controls: 1 at rest, 1 - weight where every control is at its limit."""
    controls = [read(name, signals) for name in control_names(signals)]
    if not controls:
        raise ManyheadsError("An effort reads the signals control[0], control[1], …; there are none.")
    mean = torch.stack([1 - value.clamp(-1, 1) ** 2 for value in controls]).mean(0)
    return 1 - effort.weight + effort.weight * mean


def total(node: Total, signals: Signals) -> Tensor:
    """A term or combination, in [0, 1]."""
    value = term(node, signals) if isinstance(node, Term) else combination(node, signals)
    return node.floor + (1 - node.floor) * value


def combination(node: Combine, signals: Signals) -> Tensor:
    """Several totals in one, in [0, 1]."""
    values = [total(child, signals) for child in node.of]
    if node.combine == "product":
        return _stack(values).prod(0)
    if node.combine == "min":
        return _stack(values).amin(0)
    whole = sum(child.weight for child in node.of)
    shares = [child.weight / whole for child in node.of]
    if node.combine == "weighted_mean":
        weighted = [share * one for share, one in zip(shares, values, strict=True)]
        return _stack(weighted).sum(0).clamp(0, 1)
    return _stack([one**share for share, one in zip(shares, values, strict=True)]).prod(0)


def term(node: Term, signals: Signals) -> Tensor:
    """A term's shape, in [0, 1], before its floor."""
    if isinstance(node.to, Indicator):
        return holds(node.to.when, signals).double()
    assert node.x is not None  # the grammar's own check
    if isinstance(node.to, Progress):
        assert node.rate is not None
        towards = 1 if node.to.direction == "increase" else -1
        return (towards * value(node.rate, signals) / node.to.scale).clamp(0, 1)
    x = value(node.x, signals)
    return tolerance(x, node.to) if isinstance(node.to, Tolerance) else ramp(x, node.to)


def ramp(x: Tensor, shape: Ramp) -> Tensor:
    """0 at `low`, 1 at `high`, clipped outside."""
    return ((x - shape.low) / (shape.high - shape.low)).clamp(0, 1)


def tolerance(x: Tensor, shape: Tolerance) -> Tensor:
    """`dm_control.utils.rewards.tolerance`: 1 inside the bounds, a sigmoid of the distance outside."""
    lower = -math.inf if shape.lower is None else shape.lower
    upper = math.inf if shape.upper is None else shape.upper
    if shape.margin == 0:
        return ((lower <= x) & (x <= upper)).double()
    distance = torch.maximum(lower - x, x - upper).clamp(min=0)
    return SIGMOIDS[shape.sigmoid](distance / shape.margin, shape.value_at_margin)


def _cosine(x: Tensor, at_one: float) -> Tensor:
    return (1 + torch.cos((x * math.acos(2 * at_one - 1)).clamp(max=math.pi))) / 2


SIGMOIDS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "gaussian": lambda x, at_one: torch.exp(math.log(at_one) * x**2),
    "hyperbolic": lambda x, at_one: 1 / torch.cosh(x * math.acosh(1 / at_one)),
    "long_tail": lambda x, at_one: 1 / (x**2 * (1 / at_one - 1) + 1),
    "reciprocal": lambda x, at_one: 1 / (x * (1 / at_one - 1) + 1),
    "cosine": _cosine,
    "linear": lambda x, at_one: (1 - x * (1 - at_one)).clamp(min=0),
    "quadratic": lambda x, at_one: (1 - x**2 * (1 - at_one)).clamp(min=0),
    "tanh_squared": lambda x, at_one: 1 - torch.tanh(x * math.atanh(math.sqrt(1 - at_one))) ** 2,
}
"""Distance in margins -> value: 1 at 0, `at_one` at 1."""


def holds(node: Predicate, signals: Signals) -> Tensor:
    """Where a predicate holds, bool."""
    if isinstance(node, Not):
        return ~holds(node.of, signals)
    if isinstance(node, Join):
        each = _stack([holds(child, signals) for child in node.of])
        return each.all(0) if node.op == "all" else each.any(0)
    if isinstance(node, HeldFor):
        return signals[node.key]
    x = value(node.x, signals)
    if isinstance(node, Between):
        return (node.lower <= x) & (x <= node.upper)
    return COMPARISONS[node.op](x, node.than)


COMPARISONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "lt": torch.lt,
    "le": torch.le,
    "gt": torch.gt,
    "ge": torch.ge,
}


def value(node: Expression, signals: Signals) -> Tensor:
    """An expression's number, float64; a constant alone has no dimensions."""
    if isinstance(node, SignalValue):
        return read(node.signal, signals).clamp(-FAR, FAR)
    if isinstance(node, Constant):
        device = next(iter(signals.values())).device
        return torch.full((), node.constant, dtype=torch.float64, device=device)
    if isinstance(node, (Rate, Window)):
        return signals[node.key]
    if isinstance(node, Unary):
        x = value(node.of, signals)
        if node.op == "wrap_angle":
            return wrap_angle(x)
        return x.abs() if node.op == "abs" else -x
    operands = _stack([value(child, signals) for child in node.of])
    if node.op == "diff":
        return operands[0] - operands[1]
    if node.op == "dist":
        ours, theirs = operands.chunk(2)
        return OPERATIONS["norm"](ours - theirs)
    return OPERATIONS[node.op](operands)


OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "norm": lambda x: torch.linalg.vector_norm(x, dim=0),
    "min": lambda x: x.amin(0),
    "max": lambda x: x.amax(0),
    "mean": lambda x: x.mean(0),
}


def wrap_angle(x: Tensor) -> Tensor:
    """Angles brought into (-pi, pi]."""
    turned = math.pi - torch.remainder(math.pi - x, 2 * math.pi)
    return torch.where((x > -math.pi) & (x <= math.pi), x, turned)


def read(name: str, signals: Signals) -> Tensor:
    """One signal as float64; raises ManyheadsError that names a near one."""
    if name not in signals:
        raise unknown("signal", name, signals)
    return signals[name].double()


def _stack(values: Sequence[Tensor]) -> Tensor:
    """Several results along a new first dimension; constants are spread over the rows."""
    shape = max((one.shape for one in values), key=len)
    return torch.stack([one.expand(shape) for one in values])


def started(shape: torch.Size, device: torch.device) -> Tensor:
    """`is_first` where none is given: axis 0 is time and row 0 starts an episode; a scalar row starts none."""
    is_first = torch.zeros(shape, dtype=torch.bool, device=device)
    if is_first.dim():
        is_first[0] = True
    return is_first
