"""Settings that had other names in the version before: still read, with a message that says the new name."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

RENAMED: Mapping[str, str] = {
    "training.batch": "training.batch_size",
    "training.length": "training.batch_length",
    "training.ratio": "training.train_ratio",
    "training.slots": "training.num_envs",
    "optimizer.rate": "optimizer.lr",
    "optimizer.clip": "optimizer.agc",
    "optimizer.clip_floor": "optimizer.agc_pmin",
    "optimizer.momentum": "optimizer.beta1",
    "optimizer.decay": "optimizer.beta2",
    "optimizer.epsilon": "optimizer.eps",
    "heads.actor_critic.trace": "heads.actor_critic.lam",
    "heads.actor_critic.entropy": "heads.actor_critic.entropy_coef",
    "heads.actor_critic.slow_rate": "heads.actor_critic.slow_critic_rate",
}


def current_name(name: str, where: str) -> str:
    """The setting's name of today, by its dotted name; says on stderr that `where` uses an old one."""
    if name not in RENAMED:
        return name
    _say_once(f"{where}: the setting {name} is now called {RENAMED[name]}; the old name goes with the next version.")
    return RENAMED[name]


def with_current_names(values: Mapping[str, Any], where: str, prefix: str = "") -> dict[str, Any]:
    """The same settings under their names of today."""
    renamed: dict[str, Any] = {}
    for key, value in values.items():
        name = current_name(f"{prefix}{key}", where).removeprefix(prefix)
        if isinstance(value, Mapping):
            value = with_current_names(value, where, f"{prefix}{key}.")
        renamed[name] = value
    return renamed


@cache
def _say_once(text: str) -> None:
    print(text, file=sys.stderr)
