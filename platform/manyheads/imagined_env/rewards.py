"""What an imagined step pays: a task's reward on predicted signals, or what its head has learned to expect."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from manyheads.errors import ManyheadsError
from manyheads.heads.contract import Head, RewardPredictor
from manyheads.imagined_env.opened import OpenedWorld
from manyheads.task import Task
from manyheads.world.model import Latent


class ImaginedReward(Protocol):
    """Rewards of N episodes, row after row."""

    def __call__(
        self, latent: Latent, signals: dict[str, Tensor], memory: Tensor, is_first: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Reward (N,), where the task itself ends (N,), and what its source remembers (N, M)."""


class FromSignals:
    """The task's own source on the signals that a readout predicts."""

    def __init__(self, task: Task) -> None:
        self.source = task.reward

    def __call__(
        self, latent: Latent, signals: dict[str, Tensor], memory: Tensor, is_first: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        read = {name: signals[name] for name in self.source.signals}
        steps = self.source.step(read, memory, is_first)
        return steps.reward, steps.terminated, steps.memory


class FromHead:
    """What the task's head has learned to expect: for rewards that no signals tell, as the simulator's own."""

    def __init__(self, head: Head) -> None:
        self.head = head

    @torch.no_grad()
    def __call__(
        self, latent: Latent, signals: dict[str, Tensor], memory: Tensor, is_first: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        assert isinstance(self.head, RewardPredictor)
        reward = self.head.predict(latent.feature[:, None])[0][:, 0]
        return reward.masked_fill(is_first, 0), torch.zeros_like(is_first), memory


def imagined_reward(loaded: OpenedWorld, task: Task) -> ImaginedReward:
    """How the task is paid on this world; raises ManyheadsError where neither way is open."""
    source, readout = task.reward, loaded.model.readouts.get(task.instance.dynamics_key)
    if source.reads == "signals" and readout is not None and source.signals <= {*readout.signals}:
        return FromSignals(task)
    if task.name in loaded.heads and not source.memory_size:
        head = loaded.head(task.name).head
        if isinstance(head, RewardPredictor):
            return FromHead(head)
    raise ManyheadsError(
        f"{loaded.folder.path} can't imagine what {task.name} pays: its reward is not a function of predicted signals, "
        f"and no head has learned it. `manyheads finetune {loaded.folder.path} {task.name}` trains one."
    )
