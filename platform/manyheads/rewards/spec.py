"""RewardSpec version 1: what a task pays, as data.

Every term and every total lies in [0, 1], so that one specification can replace another without new scales. Semantics
of `tolerance` are dm_control's (`dm_control.utils.rewards.tolerance`). A specification that exists can be compiled;
`validate` checks it against an environment's signals.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from manyheads.rewards.nodes import (
    Expression,
    HeldFor,
    MemoryNode,
    Node,
    Number,
    Predicate,
    Rate,
    Success,
    Window,
    depth,
    limit,
    limit_expression,
    limit_expressions,
    limit_predicate,
    memory_nodes,
    require_ordered,
    signals_of,
    walk,
    wrong,
)

MAX_COMBINE_DEPTH = 3
MAX_TERMS = 12
MAX_STAGES = 6
MAX_CONSTRAINTS = 6
MAX_MEMORY = 512
"""numbers that a specification remembers of an episode"""
MAX_EPISODE = 10_000
"""steps: of a stage's timeout, and of a constraint's grace"""
CONTROL = re.compile(r"control\[(\d+)\]")

Margin = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Floor = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(gt=0, le=10)]
Sigmoid = Literal["gaussian", "hyperbolic", "long_tail", "reciprocal", "cosine", "linear", "quadratic", "tanh_squared"]
REACH_ZERO = ("cosine", "linear", "quadratic")
"""The sigmoids that may be 0 at the margin."""

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
            raise wrong("L2_BOUNDS", "a tolerance needs `lower`, `upper` or both; with neither it is always 1")
        if self.lower is not None and self.upper is not None:
            require_ordered(self.lower, self.upper)
        if self.value_at_margin < 1e-6 and not (self.value_at_margin == 0 and self.sigmoid in REACH_ZERO):
            raise wrong(
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
            raise wrong("L2_BOUNDS", f"`low` and `high` of a ramp must differ; both are {self.low:g}")
        return self


class Progress(Node):
    """How fast the expression changes in `direction`: 0 where it stands or goes back, 1 at `scale` per second."""

    shape: Literal["progress"]
    direction: Literal["increase", "decrease"]
    scale: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class Indicator(Node):
    """1 where the predicate holds, else 0."""

    shape: Literal["indicator"]
    when: Predicate

    @model_validator(mode="after")
    def _small(self) -> Indicator:
        limit_predicate("when", self.when)
        return self


# --- terms and totals -----------------------------------------------------------------------------------


class Term(Node):
    """floor + (1 - floor) * shape(expression); `x` is absent for an indicator."""

    x: Expression | None = None
    to: Annotated[Tolerance | Ramp | Progress | Indicator, Field(discriminator="shape")]
    floor: Floor = 0.0
    weight: Weight = 1.0

    @model_validator(mode="after")
    def _sound(self) -> Term:
        if isinstance(self.to, Indicator) and self.x is not None:
            raise wrong("L2_OPERANDS", "an indicator reads its own predicate; leave out `x`")
        if not isinstance(self.to, Indicator) and self.x is None:
            raise wrong("L2_OPERANDS", f"a {self.to.shape} needs an expression `x` to shape")
        if self.x is not None:
            limit_expression(self.x)
        return self

    @cached_property
    def rate(self) -> Rate | None:
        """The rate of `x`, which `progress` shapes."""
        return Rate(op="rate", of=self.x) if isinstance(self.to, Progress) and self.x is not None else None


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


# --- over an episode ------------------------------------------------------------------------------------


class Stage(Node):
    """One of several things to do one after the other.

    A step earns (number of the stage + reward of the stage) / stages, so that finishing one never lowers the reward.
    """

    reward: Total
    advance_when: Predicate | None = None
    """the next stage begins on the row on which this holds"""
    timeout: Annotated[int, Field(ge=1, le=MAX_EPISODE)] | None = None
    """steps in this stage, after which `on_timeout` happens"""
    on_timeout: Literal["restart", "advance"] = "restart"
    """go back to the first stage, or on to the next one"""

    @model_validator(mode="after")
    def _small(self) -> Stage:
        if self.advance_when is not None:
            limit_predicate("advance_when", self.advance_when)
        return self


class AnyConstraint(Node):
    """What all constraints have."""

    when: Predicate
    """where it is violated"""
    grace: Annotated[int, Field(ge=0, le=MAX_EPISODE)] = 0
    """the first steps of an episode, in which it does not count"""

    @model_validator(mode="after")
    def _small(self) -> AnyConstraint:
        limit_predicate("when", self.when)
        return self


class Gate(AnyConstraint):
    """Where it is violated, nothing is earned."""

    constraint: Literal["gate"]


class Penalty(AnyConstraint):
    """Where it is violated, `share` of the reward is lost."""

    constraint: Literal["penalty"]
    share: Annotated[float, Field(gt=0, le=1)]


class Terminate(AnyConstraint):
    """Where it is violated, the task ends."""

    constraint: Literal["terminate"]


Constraint = Annotated[Gate | Penalty | Terminate, Field(discriminator="constraint")]


class RewardSpec(Node):
    """A whole reward specification: what a step earns, where the task ends, what counts as success."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    environment: Annotated[str, Field(max_length=120)]
    catalogue: Annotated[str, Field(max_length=64)] | None = None
    """hash of the signals that it uses (`validate.catalogue_hash`); None: not yet bound to a catalogue"""
    goal: Annotated[str, Field(max_length=500)] = ""
    reward: Total | None = None
    """the same thing in every row; or else `stages`"""
    stages: Annotated[list[Stage], Field(min_length=1, max_length=MAX_STAGES)] | None = None
    constraints: Annotated[list[Constraint], Field(max_length=MAX_CONSTRAINTS)] = Field(default_factory=list)
    effort: Effort | None = None
    success: Success | None = None

    @model_validator(mode="after")
    def _sound(self) -> RewardSpec:
        if (self.reward is None) == (self.stages is None):
            what = "neither is there" if self.reward is None else "both are there"
            raise wrong("L1_SCHEMA", f"either `reward` or `stages` says what is paid; {what}", "reward")
        terms = 0
        for path, total in self.totals:
            limit(path, "nested combinations", depth(total, (Combine,)), MAX_COMBINE_DEPTH)
            terms += sum(isinstance(node, Term) for _, node in walk(total))
        limit("reward" if self.stages is None else "stages", "terms", terms, MAX_TERMS, "L2_SIZE")
        limit_expressions(self)
        limit("", "numbers to remember", self.memory_size, MAX_MEMORY, "L2_SIZE")
        stages = self.stages or []
        for i, stage in enumerate(stages[:-1]):
            if stage.advance_when is None and _only_restarts(stage):
                message = "the next stage is never reached: add `advance_when`, or `timeout` and `on_timeout: advance`"
                raise wrong("L2_STAGE", message, f"stages[{i}]")
        if stages and not (stages[-1].advance_when is None and _only_restarts(stages[-1])):
            raise wrong("L2_STAGE", "there is no stage after the last one to advance to", f"stages[{len(stages) - 1}]")
        return self

    @property
    def totals(self) -> list[tuple[str, Total]]:
        """What is paid, stage by stage, each with its path."""
        if self.reward is not None:
            return [("reward", self.reward)]
        return [(f"stages[{i}].reward", stage.reward) for i, stage in enumerate(self.stages or [])]

    @property
    def signals(self) -> frozenset[str]:
        """Names of the signals that reward and success read; an effort reads the `control[i]` besides."""
        return signals_of(self)

    @cached_property
    def memory_nodes(self) -> list[MemoryNode]:
        """The nodes that remember earlier rows for the reward's sake, those inside others first."""
        parts: list[Node] = [*(total for _, total in self.totals), *self.constraints]
        parts += [stage.advance_when for stage in self.stages or [] if stage.advance_when is not None]
        found = {node.key: node for part in parts for node in nodes_with_rates(part)}
        return list(found.values())

    @property
    def has_timeouts(self) -> bool:
        return any(stage.timeout is not None for stage in self.stages or [])

    @property
    def grace(self) -> int:
        """The longest grace of a constraint."""
        return max((constraint.grace for constraint in self.constraints), default=0)

    @cached_property
    def memory_size(self) -> int:
        """How many numbers are remembered of an episode: of its nodes, its stage, and the time since its start."""
        stages = len(self.stages or [])
        of_stages = stages + self.has_timeouts if stages > 1 or self.has_timeouts else 0
        return sum(map(width, self.memory_nodes)) + of_stages + (self.grace > 0)

    @property
    def canonical_json(self) -> str:
        """The one way to write it: sorted keys, no spaces, nothing that is as it is by default but the version."""
        data = {**self.model_dump(mode="json", exclude_defaults=True), "version": self.version}
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @property
    def fingerprint(self) -> str:
        """sha256 of the canonical JSON, 64 hexadecimal digits."""
        return hashlib.sha256(self.canonical_json.encode("utf-8", "surrogatepass")).hexdigest()


for _model in (Indicator, Term, Combine, Stage, Gate, Penalty, Terminate, RewardSpec):
    _model.model_rebuild()


def width(node: MemoryNode) -> int:
    """How many numbers a node remembers."""
    if isinstance(node, HeldFor):
        return 1  # rows in a row
    if isinstance(node, Window):
        return 2 + node.steps  # value, rows, their values
    return 2  # newest value, rate


def nodes_with_rates(node: Node) -> list[MemoryNode]:
    """The different nodes with memory from here down, those inside others first, with the rates of `progress`."""
    rates = [inner.rate for _, inner in walk(node) if isinstance(inner, Term) and inner.rate is not None]
    return list({inner.key: inner for part in (node, *rates) for inner in memory_nodes(part)}.values())


def uses_rates(node: Node) -> bool:
    """Whether anything from here down is per second."""
    return any(isinstance(inner, (Rate, Progress)) for _, inner in walk(node))


def control_names(names: Iterable[str]) -> list[str]:
    """The `control[i]` among signal names, in order."""
    found = [(int(match[1]), name) for name in names if (match := CONTROL.fullmatch(name))]
    return [name for _, name in sorted(found)]


def _only_restarts(stage: Stage) -> bool:
    """Whether time never leads to the next stage."""
    return stage.timeout is None or stage.on_timeout == "restart"
