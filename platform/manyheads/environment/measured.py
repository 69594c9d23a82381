"""A simulator with every declared signal measured at each reset and step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium

from manyheads.errors import ManyheadsError, unknown

Info = dict[str, Any]
Measure = Callable[[gymnasium.Env[Any, Any], Any], Mapping[str, float]]
"""from the environment and its observation to the value of each declared signal"""


class MeasuredEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Puts the declared signals into `info["signals"]`, in their order after `reward`, which is 0.0 at reset.

    `owner` is the environment's name and `key` the instance's, for messages.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], owner: str, key: str, signals: Sequence[str], measure: Measure | None
    ) -> None:
        super().__init__(env)
        self.owner, self.key = owner, key
        self._measure = measure
        self._declared = tuple(signals)
        repeated = {name for name in self._declared if self._declared.count(name) > 1 or name == "reward"}
        if repeated:
            raise ManyheadsError(f"{owner} declares signal {min(repeated)!r} twice.")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Info]:
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, {**info, "signals": self._signals(0.0, observation, info)}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, Info]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        signals = self._signals(float(reward), observation, info)
        return observation, reward, bool(terminated), bool(truncated), {**info, "signals": signals}

    def _signals(self, reward: float, observation: Any, info: Info) -> dict[str, float]:
        values = self._measure(self.env, observation) if self._measure else info.get("signals", {})
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

    def _wrong(self, values: Mapping[str, Any], name: str) -> ManyheadsError:
        environment = self.owner
        if name not in values:
            return ManyheadsError(
                f"{environment} declares the signal {name!r} but did not measure it. "
                'Return it from `measure` or put it into `info["signals"]` at every reset and step.'
            )
        return ManyheadsError(f"{environment}: signal {name!r} is {values[name]!r}; a signal is one number.")
