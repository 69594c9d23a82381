"""What an environment promises: named options, named signals, a Gymnasium environment that measures them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from manyheads.errors import ManyheadsError, unknown
from manyheads.imports import missing_modules

if TYPE_CHECKING:
    import gymnasium

Unit = Literal[
    "1",
    "m",
    "m/s",
    "m/s^2",
    "rad",
    "rad/s",
    "rad/s^2",
    "N",
    "N*m",
    "kg*m/s",
    "s",
    "steps",
    "count",
    "byte",
    "points",
    "px",
]
Kind = Literal["continuous", "angle", "boolean", "discrete"]


@dataclass(frozen=True)
class Signal:
    """A named scalar that an environment measures at every reset and step.

    `low` and `high` are the range that it keeps to (None: unbounded). A `soft` range may be passed a little,
    as joints' limits are that a simulator keeps by springs. `says` is one sentence with frame and sign.
    """

    name: str
    unit: Unit = "1"
    kind: Kind = "continuous"
    low: float | None = None
    high: float | None = None
    description: str = ""
    soft: bool = False


REWARD = Signal("reward", description="the simulator's own reward, summed over repeated actions")


class Options(BaseModel):
    """The base of every environment's options: extras are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Environment:
    """A simulator under a name `plugin/thing`; every plugin registers some.

    `factory(options)` builds a Gymnasium environment and may import heavy packages. `signals` declares what
    it measures; `measure(env, observation)` returns a value for each of them, and without it the environment
    itself puts them into `info["signals"]`. The signal `reward` is always there and needs no declaration.
    `starts_only` names the options that change only where episodes start and what `reward` pays (it is valid
    on rows of its own instance alone): instances that differ in those alone share experience. It may depend
    on the options. `requires` names the importable modules without which `factory` fails, `extra` the extra
    that installs them.
    """

    name: str
    factory: Callable[[Any], gymnasium.Env[Any, Any]]
    signals: Sequence[Signal] | Callable[[Any], Sequence[Signal]] = ()
    measure: Callable[[gymnasium.Env[Any, Any], Any], Mapping[str, float]] | None = None
    options: type[Options] = Options
    reset_only_options: frozenset[str] | Callable[[Any], frozenset[str]] = frozenset()
    requires: tuple[str, ...] = ()
    extra: str = ""
    description: str = ""
    step_seconds: float | Callable[[Any], float] | None = None
    """Simulated time of a step, which may depend on the options; None: unknown, so that nothing has a rate."""
    goals_need: str = ""
    """How to name this environment's signals, shown when a goal needs one and only `reward` is declared."""

    def instance(self, options: Mapping[str, Any] | None = None) -> Instance:
        """This environment with checked options; raises ManyheadsError that names the wrong one."""
        given = dict(options or {})
        for name in given:
            if name not in self.options.model_fields:
                raise unknown(f"option of {self.name}", name, self.options.model_fields)
        try:
            return Instance(self, self.options(**given))
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"])
            option = f"option {where}={problem['input']!r}: " if where else ""
            raise ManyheadsError(f"{self.name}: {option}{problem['msg']}.") from None

    def missing(self) -> list[str]:
        """The modules in `requires` that this Python can't import."""
        return missing_modules(self.requires)


@dataclass(frozen=True)
class Instance:
    """An environment with its options in canonical form: what replay rows and signals are keyed by."""

    environment: Environment
    options: Options

    @property
    def key(self) -> str:
        """`dmc/finger {"action_repeat": 2, "task": "turn_easy"}`: equal keys are equal simulators."""
        return self._key(frozenset())

    @property
    def dynamics_key(self) -> str:
        """The key without the options that change neither dynamics nor observations nor measured signals."""
        starts_only = self.environment.reset_only_options
        return self._key(starts_only(self.options) if callable(starts_only) else starts_only)

    def _key(self, leave_out: frozenset[str]) -> str:
        values = {k: v for k, v in self.options.model_dump(mode="json").items() if k not in leave_out}
        return f"{self.environment.name} {json.dumps(values, sort_keys=True)}"

    @property
    def signals(self) -> tuple[Signal, ...]:
        """Everything measured, in a fixed order, `reward` first."""
        declared = self.environment.signals
        own = declared(self.options) if callable(declared) else declared
        return (REWARD, *own)

    @property
    def step_seconds(self) -> float | None:
        """Simulated time of a step; None where the environment does not say."""
        declared = self.environment.step_seconds
        return declared(self.options) if callable(declared) else declared

    def make(self) -> gymnasium.Env[Any, Any]:
        """Builds the environment: native spaces, `info["signals"]` at every reset and step.

        Raises ManyheadsError naming the missing modules where the simulator is not installed.
        """
        from manyheads.environment.measured import MeasuredEnv

        environment, missing = self.environment, self.environment.missing()
        if missing:
            install = f" Install with `pip install 'manyheads[{environment.extra}]'`." if environment.extra else ""
            raise ManyheadsError(f"{environment.name} needs {' and '.join(missing)}, not installed here.{install}")
        signals = [signal.name for signal in self.signals[1:]]
        return MeasuredEnv(environment.factory(self.options), environment.name, self.key, signals, environment.measure)
