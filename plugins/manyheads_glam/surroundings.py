"""What a simulator is like beyond its signals: how long an episode and a step are, what an action is."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from manyheads.environment.contract import Instance

logger = logging.getLogger("manyheads")


@dataclass(frozen=True)
class Surroundings:
    """For models that draft; None and "": not known."""

    episode_steps: int | None = None
    step_seconds: float | None = None
    actions: str = ""


def surroundings(instance: Instance, episode_steps: int) -> Surroundings:
    """Looks at a simulator made for it; where it can't be made here, the length of an episode is all."""
    if instance.environment.missing():
        return Surroundings(episode_steps)
    try:
        env = instance.make()
    except Exception as error:  # whatever a plugin raises: a goal can be written without its simulator
        logger.warning("%s could not be made, so the model is told less of it: %s", instance.key, error)
        return Surroundings(episode_steps)
    try:
        return Surroundings(episode_steps, _step_seconds(env), _actions(env.action_space))
    finally:
        env.close()


def _step_seconds(env: gymnasium.Env[Any, Any]) -> float | None:
    """Gymnasium has no one name for it: physical simulators say `dt` or `tau`, others how fast they are drawn."""
    for name in ("dt", "tau"):
        value = getattr(env.unwrapped, name, None)
        if isinstance(value, float) and value > 0:
            return value
    rate = env.unwrapped.metadata.get("render_fps")
    return 1.0 / rate if isinstance(rate, (int, float)) and rate > 0 else None


def _actions(space: gymnasium.Space[Any]) -> str:
    if isinstance(space, Discrete):
        return f"one of {space.n} choices"
    if isinstance(space, Box):
        low, high = np.unique(space.low), np.unique(space.high)
        ends = f" in [{low[0]:g}, {high[0]:g}]" if len(low) == len(high) == 1 else f" from {space.low} to {space.high}"
        count = int(np.prod(space.shape))
        return f"{count} {'number' if count == 1 else 'numbers'}{ends}"
    return str(space)
