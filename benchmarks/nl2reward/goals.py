"""The benchmark's goals: true rewards, some made from parameters, each said in four ways; two splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from manyheads import RewardSpec, load_task, yamlfile
from manyheads.environment.contract import Instance
from manyheads.registry import registry
from manyheads.rewards.nodes import Compare, Constant, Expression, Nary, SignalValue, Unary
from manyheads.rewards.spec import Combine, Ramp, Stage, Term, Tolerance
from manyheads_glam.amounts import MeasuredRange

HERE = Path(__file__).parent
Split = Literal["tuning", "reported"]
Measured = Mapping[str, MeasuredRange]
DEGREE = 0.017453292519943295


class Strict(BaseModel):
    """Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Condition(Strict):
    """What one signal should be; numbers may be places `{0}` for the family's values."""

    signal: str
    size: bool = False
    angle: bool = False
    low: bool = False
    """the lower the better"""
    ge: str | float | None = None
    le: str | float | None = None
    near: str | float | None = None
    within: float = 0.0
    between: tuple[float, float] | None = None


class Family(Strict):
    """One true reward, or one for each of `values`, and four ways to say it."""

    kind: str
    task: str | None = None
    environment: str | None = None
    values: tuple[tuple[float, ...], ...] = ((),)
    truth: tuple[Condition, ...] = ()
    stages: tuple[tuple[Condition, ...], ...] = ()
    say: Annotated[tuple[str, ...], Field(min_length=4, max_length=4)]

    @model_validator(mode="after")
    def _one_truth(self) -> Family:
        if sum(map(bool, (self.task, self.truth, self.stages))) != 1 or (self.task is None) == (
            self.environment is None
        ):
            raise ValueError("a family has a task, or an environment with a truth or stages")
        return self


@dataclass(frozen=True)
class Goal:
    """A true reward in one environment and its four sentences."""

    split: Split
    kind: str
    instance: Instance
    sentences: tuple[str, ...]
    family: Family
    values: tuple[float, ...]

    @property
    def name(self) -> str:
        """For tables: the environment and the first sentence."""
        return f"{self.instance.environment.name}: {self.sentences[0]}"

    def truth(self, measured: Measured) -> RewardSpec:
        """The true specification; margins are half of what was measured of a signal."""
        if self.family.task is not None:
            return RewardSpec.model_validate((load_task(self.family.task).content.reward.model_extra or {})["spec"])
        name = self.instance.environment.name
        if self.family.stages:
            stages = [self._stage(part, measured, last=False) for part in self.family.stages[:-1]]
            stages.append(self._stage(self.family.stages[-1], measured, last=True))
            return RewardSpec(environment=name, stages=stages)
        return RewardSpec(environment=name, reward=_total([self._term(one, measured) for one in self.family.truth]))

    def _stage(self, conditions: Sequence[Condition], measured: Measured, last: bool) -> Stage:
        [condition] = conditions
        term = self._term(condition, measured)
        assert isinstance(term.to, Tolerance)
        assert term.x is not None
        if last:
            return Stage(reward=term)
        bound = term.to.lower if term.to.lower is not None else term.to.upper
        assert bound is not None
        when = Compare(op="ge" if term.to.lower is not None else "le", x=term.x, than=bound)
        return Stage(reward=term, advance_when=when)

    def _term(self, one: Condition, measured: Measured) -> Term:
        quantiles = measured[one.signal].quantiles
        low, high = quantiles[0.01], quantiles[0.99]
        margin = max(0.5 * (high - low), 1e-3)
        x: Expression = SignalValue(signal=one.signal)
        if one.size:
            x = Unary(op="abs", of=x)
        if one.low:
            return Term(x=x, to=Ramp(shape="ramp", low=high, high=low))
        lower, upper = self._bounds(one)
        if one.angle and lower is not None and upper is not None:
            turned = Nary(op="diff", of=[x, Constant(constant=(lower + upper) / 2)])
            x, lower, upper = Unary(op="wrap_angle", of=turned), -(upper - lower) / 2, (upper - lower) / 2
        return Term(x=x, to=Tolerance(shape="tolerance", lower=lower, upper=upper, margin=margin))

    def _bounds(self, one: Condition) -> tuple[float | None, float | None]:
        if one.near is not None:
            middle = self._number(one.near)
            return middle - one.within, middle + one.within
        if one.between is not None:
            return one.between
        return (
            None if one.ge is None else self._number(one.ge),
            None if one.le is None else self._number(one.le),
        )

    def _number(self, text: str | float) -> float:
        """A number as it is written, with the family's values in their places."""
        if not isinstance(text, str):
            return text
        value, _, unit = text.format(*self.values).partition(" ")
        return float(value) * (DEGREE if unit == "degrees" else 1.0)


def _total(terms: list[Term]) -> Term | Combine:
    return terms[0] if len(terms) == 1 else Combine(combine="product", of=[*terms])


def goals(split: Split) -> list[Goal]:
    """All goals of a split, each family with each of its values."""
    families = TypeAdapter(list[Family]).validate_python(yamlfile.read(HERE / f"{split}.yaml").data)
    return [goal for family in families for goal in _expanded(family, split)]


def _expanded(family: Family, split: Split) -> Iterator[Goal]:
    for values in family.values:
        sentences = tuple(text.format(*(f"{value:g}" for value in values)) for text in family.say)
        yield Goal(split, family.kind, _instance(family), sentences, family, values)


def _instance(family: Family) -> Instance:
    if family.task is None:
        return registry().environments[family.environment or ""].instance({})
    task = load_task(family.task)
    options: dict[str, Any] = {**task.options, "action_repeat": 1}
    return registry().environments[task.environment].instance(options)
