"""A simulator with every declared signal measured, and all that it returns checked at each reset and step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from manyheads.environment.foreign import CONTRACT, Foreign, read_only
from manyheads.errors import ForeignError, ManyheadsError, unknown

Info = dict[str, Any]
Measure = Callable[[gymnasium.Env[Any, Any], Any], Mapping[str, float]]
"""from the environment and its observation to the value of each declared signal"""


def build(owner: str, make: Callable[[], Any]) -> gymnasium.Env[Any, Any]:
    """The environment that a factory makes; raises ManyheadsError where it fails or makes something else."""
    try:
        env = Foreign(owner).run("building it", make)
    except ForeignError as error:
        raise ForeignError(f"{owner} does not build: {error.words}.", error.words) from error.__cause__
    if not isinstance(env, gymnasium.Env):
        raise ManyheadsError(
            f"{owner} builds {type(env).__module__}.{type(env).__name__}; expected a gymnasium.Env. "
            "Environments of the older package gym are wrapped by shimmy."
        )
    for name in ("observation_space", "action_space"):
        space = getattr(env, name, None)
        if not isinstance(space, spaces.Space):
            raise ManyheadsError(f"{owner}: {name} is {space!r}; expected a space of gymnasium.spaces.")
    return env


class MeasuredEnv(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Puts the declared signals into `info["signals"]`, in their order after `reward`, which is 0.0 at reset.

    `owner` is the environment's name and `key` the instance's, for messages; vector entries are named by the `family`.
    Rewards become floats, flags bools.
    What the environment raises, or returns against Gymnasium's contract, becomes a ManyheadsError with the step.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        owner: str,
        key: str,
        signals: Sequence[str],
        measure: Measure | None,
        observation_keys: Mapping[str, str] | None = None,
        family: str = "",
    ) -> None:
        RecordConstructorArgs.__init__(
            self,
            owner=owner,
            key=key,
            signals=signals,
            measure=measure,
            observation_keys=observation_keys,
            family=family,
        )
        gymnasium.Wrapper.__init__(self, env)
        self.owner, self.key, self.family = owner, key, family or owner
        self.observation_keys: Mapping[str, str] = observation_keys or {}
        self._measure = measure
        self._foreign = Foreign(owner)
        self._declared = tuple(signals)
        self._step = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Info]:
        self._step = 0
        returned: Any = self._foreign.run("reset", lambda: self.env.reset(seed=seed, options=options))
        if not isinstance(returned, tuple) or len(returned) != 2 or not isinstance(returned[1], Mapping | None):
            raise ManyheadsError(f"{self.owner}: reset returned {_counted(returned)}; {CONTRACT}")
        observation, info = returned[0], returned[1] or {}
        return observation, {**info, "signals": self._signals(0.0, observation, info)}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, Info]:
        self._step += 1
        returned: Any = self._foreign.run(f"step {self._step}", lambda: self.env.step(action))
        if not isinstance(returned, tuple) or len(returned) != 5 or not isinstance(returned[4], Mapping | None):
            raise ManyheadsError(f"{self.owner}: step {self._step} returned {_counted(returned)}; {CONTRACT}")
        observation, reward, terminated, truncated, info = returned
        reward = self._number(reward)
        info = info or {}
        return (
            observation,
            reward,
            self._flag("terminated", terminated),
            self._flag("truncated", truncated),
            {**info, "signals": self._signals(reward, observation, info)},
        )

    def _number(self, reward: Any) -> float:
        if type(reward) is float:
            return reward
        try:
            array = np.asarray(reward)
            if array.dtype.kind not in "biuf":
                raise TypeError
            return float(array.item())
        except (TypeError, ValueError):
            raise ManyheadsError(
                f"{self.owner}: the reward of step {self._step} is {reward!r}; expected one number."
            ) from None

    def _flag(self, name: str, value: Any) -> bool:
        if value is True or value is False:
            return bool(value)
        array = np.asarray(value)
        if array.size == 1 and array.dtype.kind in "biu" and array.item() in (0, 1):
            return bool(array.item())
        raise ManyheadsError(f"{self.owner}: {name} of step {self._step} is {value!r}; expected True or False.")

    def _signals(self, reward: float, observation: Any, info: Mapping[str, Any]) -> dict[str, float]:
        values = info.get("signals", {}) if self._measure is None else self._measured(self._measure, observation)
        if not isinstance(values, Mapping):
            raise ManyheadsError(
                f"{self.owner}: the signals are {values!r:.80}; expected a mapping of names to numbers."
            )
        signals = {"reward": reward}
        try:
            for name in self._declared:
                signals[name] = float(values[name])
        except (KeyError, TypeError, ValueError):
            raise self._wrong(values, name) from None
        if len(values) - ("reward" in values) != len(self._declared):
            extra = next(name for name in values if name not in signals)
            raise unknown(f"declared signal of {self.owner}", extra, self._declared)
        if not all(map(math.isfinite, signals.values())):
            name, value = next(item for item in signals.items() if not math.isfinite(item[1]))
            raise ManyheadsError(
                f"{self.key}: signal {name!r} is {value}. Signals are finite numbers at every step; "
                "the simulation may have become unstable."
            )
        return signals

    def _measured(self, measure: Measure, observation: Any) -> Any:
        what, shown = f"measuring signals at step {self._step}", read_only(observation)
        return self._foreign.run(what, lambda: measure(self.env, shown), "measuring signals: ")

    def _wrong(self, values: Mapping[str, Any], name: str) -> ManyheadsError:
        environment = self.owner
        if name not in values:
            return ManyheadsError(
                f"{environment} declares the signal {name!r} but did not measure it. "
                'Return it from `measure` or put it into `info["signals"]` at every reset and step.'
            )
        return ManyheadsError(f"{environment}: signal {name!r} is {values[name]!r}; a signal is one number.")


def _counted(returned: Any) -> str:
    return f"{len(returned)} values" if isinstance(returned, tuple) else f"a {type(returned).__name__}"
