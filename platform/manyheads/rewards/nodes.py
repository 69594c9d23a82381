"""The parts of a reward specification that read signals: expressions (numbers) and predicates (yes or no).

A closed, typed grammar: data, never a string that is evaluated. Every node is total on finite inputs, looks only at the
past, and is limited in size wherever it is used. What can be wrong with a node on its own is checked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

MAX_EXPRESSION_DEPTH = 3
MAX_EXPRESSION_NODES = 24
MAX_PREDICATE_DEPTH = 3
MAX_EXPRESSIONS = 8
MAX_STEPS = 200
"""of a window, and of a condition that must be held"""

Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Steps = Annotated[int, Field(ge=1, le=MAX_STEPS)]


class Node(BaseModel):
    """Base of all nodes: unknown keys are refused, and nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class MemoryNode(Node):
    """A node whose value depends on earlier rows of the episode, too."""

    @cached_property
    def key(self) -> str:
        """Equal for equal nodes, so that they share their memory; no signal has such a name."""
        return self.model_dump_json()


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
            raise wrong("L2_OPERANDS", "`diff` takes exactly two expressions (first minus second)")
        if self.op == "dist" and len(self.of) % 2:
            raise wrong("L2_OPERANDS", "`dist` takes an even number of expressions: one point, then the other")
        return self


class Rate(MemoryNode):
    """The change of an expression since the row before, per second; 0 where an episode starts.

    Of a `wrap_angle` it is the shorter way round.
    """

    op: Literal["rate"]
    of: Expression


class Window(MemoryNode):
    """The mean, least or greatest value over the newest `steps` rows of the episode, or as many as there are."""

    op: Literal["window"]
    take: Literal["mean", "min", "max"]
    of: Expression
    steps: Steps


EXPRESSION_OPS = {"abs": "Unary", "neg": "Unary", "wrap_angle": "Unary", "rate": "Rate", "window": "Window"}
"""The node that an `op` belongs to; all others are Nary."""


def _expression_tag(value: object) -> str | None:
    def get(key: str) -> Any:
        return value.get(key) if isinstance(value, dict) else getattr(value, key, None)

    for key, tag in (("signal", "SignalValue"), ("constant", "Constant")):
        if get(key) is not None:
            return tag
    if get("op") is None:
        return None
    return EXPRESSION_OPS.get(str(get("op")), "Nary")


Expression = Annotated[
    Annotated[SignalValue, Tag("SignalValue")]
    | Annotated[Constant, Tag("Constant")]
    | Annotated[Unary, Tag("Unary")]
    | Annotated[Nary, Tag("Nary")]
    | Annotated[Rate, Tag("Rate")]
    | Annotated[Window, Tag("Window")],
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

    @model_validator(mode="after")
    def _small(self) -> Compare:
        limit_expression(self.x)
        return self


class Between(Node):
    """lower <= x <= upper"""

    op: Literal["between"]
    x: Expression
    lower: Number
    upper: Number

    @model_validator(mode="after")
    def _sound(self) -> Between:
        require_ordered(self.lower, self.upper)
        limit_expression(self.x)
        return self


class Join(Node):
    """All or any of several predicates."""

    op: Literal["all", "any"]
    of: Annotated[list[Predicate], Field(min_length=1, max_length=6)]


class Not(Node):
    """The opposite of a predicate."""

    op: Literal["not"]
    of: Predicate


class HeldFor(MemoryNode):
    """A predicate has held for the newest `steps` rows in a row; rows that start an episode don't count."""

    op: Literal["held_for"]
    of: Predicate
    steps: Steps


Predicate = Annotated[Compare | Between | Join | Not | HeldFor, Field(discriminator="op")]


class Success(Node):
    """An episode succeeds when `when` holds for `held_for` steps in a row."""

    when: Predicate
    held_for: Steps = 1

    @model_validator(mode="after")
    def _small(self) -> Success:
        limit_predicate("when", self.when)
        limit_expressions(self)
        return self


for _model in (Unary, Nary, Rate, Window, Compare, Between, Join, Not, HeldFor, Success):
    _model.model_rebuild()


# --- looking at nodes -----------------------------------------------------------------------------------


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


def memory_nodes(node: Node) -> list[MemoryNode]:
    """The different nodes with memory from here down, those inside others first."""
    found = [inner for _, inner in walk(node) if isinstance(inner, MemoryNode)]
    return list({inner.key: inner for inner in reversed(found)}.values())


def limit_expression(x: Expression) -> None:
    """Raises where an expression `x` of a node is too large, or reads nothing."""
    limit("x", "nodes", sum(1 for _ in walk(x)), MAX_EXPRESSION_NODES)
    limit("x", "nested operations", depth(x, (Unary, Nary, Rate, Window)), MAX_EXPRESSION_DEPTH)
    if not signals_of(x):
        raise wrong("L2_OPERANDS", "this reads no signal, so it never changes", "x")


def limit_predicate(path: str, when: Predicate) -> None:
    """Raises where a predicate is nested too deep."""
    limit(path, "nested predicates", depth(when, (Join, Not, HeldFor)), MAX_PREDICATE_DEPTH)


def limit_expressions(node: Node) -> None:
    """Raises where there are too many different expressions from here down."""
    read = [getattr(inner, "x", None) for _, inner in walk(node)]
    distinct = {x.model_dump_json() for x in read if x is not None}
    limit("", "different expressions", len(distinct), MAX_EXPRESSIONS, "L2_SIZE")


def depth(node: Any, kinds: tuple[type[Any], ...]) -> int:
    """How many nodes of these kinds lie nested in one another."""
    if not isinstance(node, kinds):
        return 0
    inner = node.of if isinstance(node.of, list) else [node.of]
    return 1 + max(depth(child, kinds) for child in inner)


def limit(path: str, what: str, size: int, most: int, code: str = "L2_DEPTH") -> None:
    """Raises where `size` is more than `most`."""
    if size > most:
        raise wrong(code, f"{size} {what} are too many; at most {most} are allowed", path)


def require_ordered(lower: float, upper: float) -> None:
    """Raises where the bounds are the wrong way round."""
    if lower > upper:
        raise wrong("L2_BOUNDS", f"`lower` ({lower:g}) must not be above `upper` ({upper:g})")


def wrong(code: str, message: str, path: str = "") -> PydanticCustomError:
    """A check that fails inside a model, by its code; `path` leads on from the model."""
    return PydanticCustomError(code, "{message}", {"message": message, "path": path})
