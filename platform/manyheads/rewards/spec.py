"""RewardSpec version 1: a closed, typed grammar for rewards over signals, as data.

Every node is total on finite inputs; every term and every total lies in [0, 1]; no string is ever evaluated.
Semantics of `tolerance` are dm_control's (`dm_control.utils.rewards.tolerance`). What can be wrong with a
specification on its own is checked here, so one that exists can be compiled; `validate` checks the rest
against an environment's signals.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

MAX_EXPRESSION_DEPTH = 3
MAX_EXPRESSION_NODES = 24
MAX_PREDICATE_DEPTH = 3
MAX_COMBINE_DEPTH = 3
MAX_TERMS = 12
MAX_EXPRESSIONS = 8
CONTROL = re.compile(r"control\[(\d+)\]")

Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Margin = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Floor = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(gt=0, le=10)]
Sigmoid = Literal["gaussian", "hyperbolic", "long_tail", "reciprocal", "cosine", "linear", "quadratic", "tanh_squared"]
REACH_ZERO = ("cosine", "linear", "quadratic")
"""The sigmoids that may be 0 at the margin."""


class Node(BaseModel):
    """Base of all nodes: nothing unknown gets in, nothing changes after."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


# --- expressions: signals -> number ---------------------------------------------------------------------


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
    """`diff` (first minus second), `dist` (Euclid, first half to second), `norm`, `min`, `max`, `mean`."""

    op: Literal["diff", "dist", "norm", "min", "max", "mean"]
    of: Annotated[list[Expression], Field(min_length=1, max_length=6)]

    @model_validator(mode="after")
    def _operands(self) -> Nary:
        if self.op == "diff" and len(self.of) != 2:
            raise _wrong("L2_OPERANDS", "`diff` takes exactly two expressions (first minus second)")
        if self.op == "dist" and len(self.of) % 2:
            raise _wrong("L2_OPERANDS", "`dist` takes an even number of expressions: one point, then the other")
        return self


def _expression_tag(value: object) -> str | None:
    def get(key: str) -> object:
        return value.get(key) if isinstance(value, dict) else getattr(value, key, None)

    for key, tag in (("signal", "SignalValue"), ("constant", "Constant")):
        if get(key) is not None:
            return tag
    if get("op") is None:
        return None
    return "Unary" if get("op") in ("abs", "neg", "wrap_angle") else "Nary"


Expression = Annotated[
    Annotated[SignalValue, Tag("SignalValue")]
    | Annotated[Constant, Tag("Constant")]
    | Annotated[Unary, Tag("Unary")]
    | Annotated[Nary, Tag("Nary")],
    Discriminator(
        _expression_tag,
        custom_error_type="L1_SCHEMA",
        custom_error_message='expected {"signal": NAME}, {"constant": NUMBER} or {"op": …, "of": …}',
    ),
]

# --- predicates: signals -> yes or no -------------------------------------------------------------------


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

    @model_validator(mode="after")
    def _ordered(self) -> Between:
        _require_ordered(self.lower, self.upper)
        return self


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


# --- shapes: number -> [0, 1] ---------------------------------------------------------------------------


class Tolerance(Node):
    """1 inside [lower, upper], falling to `value_at_margin` at distance `margin` outside (null: no bound)."""

    shape: Literal["tolerance"]
    lower: Number | None = None
    upper: Number | None = None
    margin: Margin = 0.0
    sigmoid: Sigmoid = "gaussian"
    value_at_margin: Annotated[float, Field(ge=0, le=0.999)] = 0.1

    @model_validator(mode="after")
    def _sound(self) -> Tolerance:
        if self.lower is None and self.upper is None:
            raise _wrong("L2_BOUNDS", "a tolerance needs `lower`, `upper` or both; with neither it is always 1")
        if self.lower is not None and self.upper is not None:
            _require_ordered(self.lower, self.upper)
        if self.value_at_margin < 1e-6 and not (self.value_at_margin == 0 and self.sigmoid in REACH_ZERO):
            raise _wrong(
                "L2_SIGMOID",
                f"`value_at_margin` must be at least 1e-6 for sigmoid {self.sigmoid}, "
                f"or 0 for {', '.join(REACH_ZERO)}; it is {self.value_at_margin:g}",
            )
        return self


class Ramp(Node):
    """0 at `low`, 1 at `high`, linear between, clipped outside; `low` may lie above `high`."""

    shape: Literal["ramp"]
    low: Number
    high: Number

    @model_validator(mode="after")
    def _rises(self) -> Ramp:
        if self.low == self.high:
            raise _wrong("L2_BOUNDS", f"`low` and `high` of a ramp must differ; both are {self.low:g}")
        return self


class Indicator(Node):
    """1 where the predicate holds, else 0."""

    shape: Literal["indicator"]
    when: Predicate


# --- terms and totals -----------------------------------------------------------------------------------


class Term(Node):
    """floor + (1 - floor) * shape(expression); `x` is absent for an indicator."""

    x: Expression | None = None
    to: Annotated[Tolerance | Ramp | Indicator, Field(discriminator="shape")]
    floor: Floor = 0.0
    weight: Weight = 1.0

    @model_validator(mode="after")
    def _fed(self) -> Term:
        if isinstance(self.to, Indicator) and self.x is not None:
            raise _wrong("L2_OPERANDS", "an indicator reads its own predicate; leave out `x`")
        if not isinstance(self.to, Indicator) and self.x is None:
            raise _wrong("L2_OPERANDS", f"a {self.to.shape} needs an expression `x` to shape")
        return self


class Combine(Node):
    """Several terms or totals in one; weights count in `weighted_mean` and `geometric_mean`."""

    combine: Literal["product", "weighted_mean", "min", "geometric_mean"]
    of: Annotated[list[Total], Field(min_length=1, max_length=MAX_TERMS)]
    weight: Weight = 1.0
    floor: Floor = 0.0


def _total_tag(value: object) -> str:
    combined = "combine" in value if isinstance(value, dict) else isinstance(value, Combine)
    return "Combine" if combined else "Term"


Total = Annotated[
    Annotated[Combine, Tag("Combine")] | Annotated[Term, Tag("Term")],
    Discriminator(_total_tag),
]


class Effort(Node):
    """Multiplies the total by (1 - weight) + weight * mean over controls of 1 - control squared."""

    weight: Annotated[float, Field(gt=0, le=0.2)]


class RewardSpec(Node):
    """A whole reward specification: what earns, what counts as success."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    environment: Annotated[str, Field(max_length=120)]
    catalogue: Annotated[str, Field(max_length=64)] | None = None
    """hash of the signals that it uses (`validate.catalogue_hash`); None: not yet bound to a catalogue"""
    goal: Annotated[str, Field(max_length=500)] = ""
    reward: Total
    effort: Effort | None = None
    success: Success | None = None

    @model_validator(mode="after")
    def _small(self) -> RewardSpec:
        expressions = []
        for where, node in walk(self):
            if isinstance(node, (Term, Compare, Between)) and node.x is not None:
                expressions.append(node.x)
                size = sum(1 for _ in walk(node.x))
                _limit(f"{where}.x", "nodes", size, MAX_EXPRESSION_NODES)
                _limit(f"{where}.x", "nested operations", _depth(node.x, (Unary, Nary)), MAX_EXPRESSION_DEPTH)
                if not any(isinstance(inner, SignalValue) for _, inner in walk(node.x)):
                    raise _wrong("L2_OPERANDS", "this reads no signal, so it never changes", f"{where}.x")
            if isinstance(node, (Success, Indicator)):
                _limit(f"{where}.when", "nested predicates", _depth(node.when, (Join, Not)), MAX_PREDICATE_DEPTH)
        _limit("reward", "nested combinations", _depth(self.reward, (Combine,)), MAX_COMBINE_DEPTH)
        terms = sum(isinstance(node, Term) for _, node in walk(self.reward))
        _limit("reward", "terms", terms, MAX_TERMS, "L2_SIZE")
        distinct = {expression.model_dump_json() for expression in expressions}
        _limit("", "different expressions", len(distinct), MAX_EXPRESSIONS, "L2_SIZE")
        return self

    @property
    def signals(self) -> frozenset[str]:
        """Names of the signals that reward and success read; an effort reads the `control[i]` besides."""
        return signals_of(self)


for _model in (Unary, Nary, Compare, Between, Join, Not, Success, Indicator, Term, Combine, RewardSpec):
    _model.model_rebuild()


def walk(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every node from here down, each with its path in the document (`reward.of[0].x`), parents first."""
    yield path, node
    for name in type(node).model_fields:
        value = getattr(node, name)
        where = f"{path}.{name}" if path else name
        if isinstance(value, Node):
            yield from walk(value, where)
        elif isinstance(value, list):
            for i, item in enumerate(value):
                yield from walk(item, f"{where}[{i}]")


def signals_of(node: Node) -> frozenset[str]:
    """Names of the signals that a node reads, itself or below."""
    return frozenset(inner.signal for _, inner in walk(node) if isinstance(inner, SignalValue))


def control_names(names: Iterable[str]) -> list[str]:
    """The `control[i]` among signal names, in order."""
    found = [(int(match[1]), name) for name in names if (match := CONTROL.fullmatch(name))]
    return [name for _, name in sorted(found)]


def _depth(node: Any, kinds: tuple[type[Node], ...]) -> int:
    """How many nodes of these kinds lie nested in one another."""
    if not isinstance(node, kinds):
        return 0
    inner = node.of if isinstance(node.of, list) else [node.of]  # type: ignore[attr-defined]
    return 1 + max(_depth(child, kinds) for child in inner)


def _limit(path: str, what: str, size: int, most: int, code: str = "L2_DEPTH") -> None:
    if size > most:
        raise _wrong(code, f"{size} {what} are too many; at most {most} are allowed", path)


def _require_ordered(lower: float, upper: float) -> None:
    if lower > upper:
        raise _wrong("L2_BOUNDS", f"`lower` ({lower:g}) must not be above `upper` ({upper:g})")


def _wrong(code: str, message: str, path: str = "") -> PydanticCustomError:
    """A check of validate's list that fails inside a model; `path` leads on from where pydantic says."""
    return PydanticCustomError(code, "{message}", {"message": message, "path": path})
