"""What an environment promises: named options, named signals, a Gymnasium environment that measures them."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from manyheads.errors import ManyheadsError, unknown
from manyheads.imports import install_command, missing_modules

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
KeyRule = Literal["drop", "one_hot", "text"]
"""What becomes of a key of an observation: left out, whole numbers as one-hot blocks, a text as hashed words."""


@dataclass(frozen=True)
class Signal:
    """A named scalar that an environment measures at every reset and step.

    `low` and `high` are the range that it keeps to (None: unbounded). A `soft` range may be passed a little,
    as joints' limits are that a simulator keeps by springs. `description` is one sentence with frame and sign. Raises
    ManyheadsError where a part is none of what is known.
    """

    name: str
    unit: Unit = "1"
    kind: Kind = "continuous"
    low: float | None = None
    high: float | None = None
    description: str = ""
    soft: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ManyheadsError(f"A signal's name is a text with at least one letter, not {self.name!r}.")
        object.__setattr__(self, "name", sys.intern(str(self.name)))  # values are looked up by it at every step
        for part, known in (("unit", get_args(Unit)), ("kind", get_args(Kind))):
            if getattr(self, part) not in known:
                raise ManyheadsError(
                    f"Signal {self.name!r} has the {part} {getattr(self, part)!r}; known: {', '.join(known)}."
                )
        for end in ("low", "high"):
            object.__setattr__(self, end, self._bound(end, getattr(self, end)))
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ManyheadsError(f"Signal {self.name!r} has low={self.low} above high={self.high}.")

    def _bound(self, end: str, value: Any) -> float | None:
        """A bound as a plain number."""
        if value is not None and not (isinstance(value, Real) and math.isfinite(value)):
            raise ManyheadsError(
                f"Signal {self.name!r} has {end}={value!r}; expected a finite number, or None where it is unbounded."
            )
        return value if value is None or isinstance(value, int | float) else float(value)


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
    `reset_only_options` names the options that change only where episodes start and what `reward` pays (it is valid
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
    observation_keys: Mapping[str, KeyRule] | Callable[[Any], Mapping[str, KeyRule]] = field(
        default_factory=dict, hash=False
    )
    """Observation keys (`mission`, `arm.camera`) that are dropped, coded one-hot or read as text."""
    episode_steps: int | Callable[[Any], int | None] | None = None
    """Steps after which its episodes are truncated, which may depend on the options; None: it does not say."""
    family: str = ""
    """`plugin/thing` whose members share the vector entries that they call alike, as levels of one game do; empty: the
    environment has entries of its own."""
    goals_need: str = ""
    """How to name this environment's signals, shown when a goal needs one and only `reward` is declared."""

    def __post_init__(self) -> None:
        if not callable(self.signals):
            _require_signals(self.name, self.signals)
        if not callable(self.observation_keys):
            _require_rules(self.name, self.observation_keys)

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
        reset_only = self.environment.reset_only_options
        return self._key(reset_only(self.options) if callable(reset_only) else reset_only)

    def _key(self, leave_out: frozenset[str]) -> str:
        values = {k: v for k, v in self.options.model_dump(mode="json").items() if k not in leave_out}
        return f"{self.environment.name} {json.dumps(values, sort_keys=True)}"

    @property
    def signals(self) -> tuple[Signal, ...]:
        """Everything measured, in a fixed order, `reward` first."""
        declared = self.environment.signals
        if not callable(declared):
            return (REWARD, *declared)
        own = tuple(declared(self.options))
        _require_signals(self.environment.name, own)
        return (REWARD, *own)

    @property
    def step_seconds(self) -> float | None:
        """Simulated time of a step; None where the environment does not say."""
        declared = self.environment.step_seconds
        return declared(self.options) if callable(declared) else declared

    @property
    def episode_steps(self) -> int | None:
        """Steps after which episodes are truncated; None where the environment does not say."""
        declared = self.environment.episode_steps
        return declared(self.options) if callable(declared) else declared

    @property
    def observation_keys(self) -> Mapping[str, KeyRule]:
        """What becomes of some observation keys."""
        declared = self.environment.observation_keys
        if not callable(declared):
            return declared
        _require_rules(self.environment.name, keys := declared(self.options))
        return keys

    def make(self) -> gymnasium.Env[Any, Any]:
        """Builds the environment: native spaces, `info["signals"]` at every reset and step.

        Raises ManyheadsError naming the missing modules where the simulator is not installed, and where it does not
        build or is no Gymnasium environment.
        """
        from manyheads.environment.measured import MeasuredEnv, build

        environment, missing = self.environment, self.environment.missing()
        if missing:
            install = f" Install with `{install_command(environment.extra, missing)}`." if environment.extra else ""
            raise ManyheadsError(f"{environment.name} needs {' and '.join(missing)}, not installed here.{install}")
        signals = [signal.name for signal in self.signals[1:]]
        env = build(environment.name, lambda: environment.factory(self.options))
        return MeasuredEnv(
            env, environment.name, self.key, signals, environment.measure, self.observation_keys, environment.family
        )


def _require_signals(owner: str, signals: Sequence[Any]) -> None:
    names = [REWARD.name]
    for signal in signals:
        if not isinstance(signal, Signal):
            raise ManyheadsError(
                f"{owner} declares {signal!r} as a signal; expected manyheads.Signal(name, unit, ...)."
            )
        if signal.name in names:
            why = " (the simulator's own, always there)" if signal.name == REWARD.name else ""
            raise ManyheadsError(f"{owner} declares signal {signal.name!r}{why} twice.")
        names.append(signal.name)


def _require_rules(owner: str, keys: Mapping[str, Any]) -> None:
    for key, rule in keys.items():
        if rule not in get_args(KeyRule):
            raise ManyheadsError(
                f"{owner}: the observation key {key!r} has the rule {rule!r}; known: {', '.join(get_args(KeyRule))}."
            )
