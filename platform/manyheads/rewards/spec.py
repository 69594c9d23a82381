"""RewardSpec version 1: a closed, typed grammar for rewards over signals, as data.

Every node is total on finite inputs; every term and every total lies in [0, 1]; no string is ever evaluated.
Semantics of `tolerance` are dm_control's (`dm_control.utils.rewards.tolerance`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, Tag, Discriminator

Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Sigmoid = Literal["gaussian", "hyperbolic", "long_tail", "reciprocal", "cosine", "linear", "quadratic", "tanh_squared"]


class Node(BaseModel):
    """Base of all nodes: nothing unknown gets in, nothing changes after."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


# --- expressions: signals -> number -------------------------------------------------------------------------


class SignalValue(Node):
    """The value of a declared signal."""

    signal: Annotated[str, Field(min_length=1, max_length=80)]


class Constant(Node):
    """A number, for distances to a fixed place."""

    constant: Number


class Unary(Node):
    """`abs`, `neg`, or `wrap_angle` (into (-pi, pi])."""

    op: Literal["abs", "neg", "wrap_angle"]
    of: Expression


class Nary(Node):
    """`diff` (first minus second), `dist` (Euclid, first half to second half), `norm`, `min`, `max`, `mean`."""

    op: Literal["diff", "dist", "norm", "min", "max", "mean"]
    of: Annotated[list[Expression], Field(min_length=1, max_length=6)]


def _expression_tag(value: object) -> str | None:
    get = value.get if isinstance(value, dict) else lambda key: getattr(value, key, None)
    if get("signal") is not None:
        return "signal"
    if get("constant") is not None:
        return "constant"
    return "unary" if get("op") in ("abs", "neg", "wrap_angle") else "nary"


Expression = Annotated[
    Annotated[SignalValue, Tag("signal")]
    | Annotated[Constant, Tag("constant")]
    | Annotated[Unary, Tag("unary")]
    | Annotated[Nary, Tag("nary")],
    Discriminator(_expression_tag),
]

# --- predicates: signals -> yes or no ------------------------------------------------------------------------


class Compare(Node):
    """`x` compared with a number."""

    op: Literal["lt", "le", "gt", "ge"]
    x: Expression
    than: Number


class Between(Node):
    """lower <= x <= upper"""

    op: Literal["between"]
    x: Expression
    lower: Number
    upper: Number


class Join(Node):
    """All or any of several predicates."""

    op: Literal["all", "any"]
    of: Annotated[list[Predicate], Field(min_length=1, max_length=6)]


class Not(Node):
    """The opposite of a predicate."""

    op: Literal["not"]
    of: Predicate


Predicate = Annotated[Compare | Between | Join | Not, Field(discriminator="op")]


class Success(Node):
    """An episode succeeds when `when` holds for `held_for` steps in a row."""

    when: Predicate
    held_for: Annotated[int, Field(ge=1, le=200)] = 1


# --- shapes: number -> [0, 1] ---------------------------------------------------------------------------------


class Tolerance(Node):
    """1 inside [lower, upper], falling to `value_at_margin` at distance `margin` outside (null: unbounded)."""

    shape: Literal["tolerance"]
    lower: Number | None = None
    upper: Number | None = None
    margin: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = 0.0
    sigmoid: Sigmoid = "gaussian"
    value_at_margin: Annotated[float, Field(ge=0, lt=1)] = 0.1


class Ramp(Node):
    """0 at `low`, 1 at `high`, linear between, clipped outside; `low` may lie above `high`."""

    shape: Literal["ramp"]
    low: Number
    high: Number


class Indicator(Node):
    """1 where the predicate holds, else 0."""

    shape: Literal["indicator"]
    when: Predicate


# --- terms and totals -----------------------------------------------------------------------------------------


class Term(Node):
    """floor + (1 - floor) * shape(expression); `x` is absent for an indicator."""

    x: Expression | None = None
    to: Annotated[Tolerance | Ramp | Indicator, Field(discriminator="shape")]
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight: Annotated[float, Field(gt=0, le=10)] = 1.0


class Combine(Node):
    """Several terms or totals in one; weights count in `weighted_mean` and `geometric_mean`."""

    combine: Literal["product", "weighted_mean", "min", "geometric_mean"]
    of: Annotated[list[Total], Field(min_length=1, max_length=12)]
    weight: Annotated[float, Field(gt=0, le=10)] = 1.0
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.0


Total = Annotated[
    Annotated[Combine, Tag("combine")] | Annotated[Term, Tag("term")],
    Discriminator(lambda v: "combine" if (isinstance(v, dict) and "combine" in v) or isinstance(v, Combine) else "term"),
]


class Effort(Node):
    """Multiplies the total by (1 - weight) + weight * mean over controls of a quadratic tolerance with margin 1."""

    weight: Annotated[float, Field(gt=0, le=0.2)]


class RewardSpec(Node):
    """A whole reward specification: what earns, what counts as success."""

    version: Literal[1] = 1
    environment: Annotated[str, Field(max_length=120)]
    catalogue: Annotated[str, Field(max_length=64)] | None = None
    """hash of the signals that it uses (`validate.catalogue_hash`); None: not yet bound to a catalogue"""
    goal: Annotated[str, Field(max_length=500)] = ""
    reward: Total
    effort: Effort | None = None
    success: Success | None = None


for _model in (Unary, Nary, Compare, Between, Join, Not, Success, Indicator, Term, Combine, RewardSpec):
    _model.model_rebuild()
