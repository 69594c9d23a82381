"""A simulator that pays what a task pays, row by row."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.utils import RecordConstructorArgs

from manyheads.rewards.contract import RewardSource


class TaskReward(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Pays a source's reward, and ends episodes where it ends them.

    `info` has both rewards: `task_reward` and `simulator_reward`; both are 0.0 at a reset. The environment below puts
    what the source reads into `info["signals"]`.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], source: RewardSource) -> None:
        RecordConstructorArgs.__init__(self, source=source)
        gymnasium.Wrapper.__init__(self, env)
        self._source = source
        self._memory = source.init(1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._memory = self._source.init(1)
        reward, _ = self._earned(info, first=True)
        return observation, {**info, "task_reward": reward, "simulator_reward": 0.0}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, simulator, terminated, truncated, info = self.env.step(action)
        reward, ended = self._earned(info, first=False)
        both = {"task_reward": reward, "simulator_reward": float(simulator)}
        return observation, reward, terminated or ended, truncated, {**info, **both}

    def _earned(self, info: dict[str, Any], first: bool) -> tuple[float, bool]:
        """The reward of arriving at a row, and whether the task ends there."""
        import torch

        signals = {name: torch.tensor([value], dtype=torch.float64) for name, value in info["signals"].items()}
        found = self._source.step(signals, self._memory, torch.tensor([first]))
        self._memory = found.memory
        return float(found.reward[0]), bool(found.terminated[0])
