"""Updates on synthetic batches, to measure and compare the learner's speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from manyheads.environment.contract import REWARD
from manyheads.environment.layout import SpaceLayout
from manyheads.execution.precision import Precision
from manyheads.experience.batch import Batch
from manyheads.heads.actor_critic import ActorCritic, ActorCriticSettings
from manyheads.heads.kind import HeadContext, HeadTask
from manyheads.learning.device import accelerate
from manyheads.learning.head_groups import LEAST
from manyheads.learning.learner import HeadLabels, Learner
from manyheads.rewards.sources import EnvironmentReward
from manyheads.settings import OptimizerSettings, TrainingSettings
from manyheads.world.model import World
from manyheads.world.sizes import Size, WorldSettings


@dataclass(frozen=True)
class Workload:
    """Sizes of a world, of what it observes and does, and of a batch."""

    size: Size
    heads: int = 1
    batch: int = 16
    length: int = 64
    vector: int = 0
    image: tuple[int, int, int] | None = None
    continuous: int = 0
    choices: int = 0
    starts_per_head: int | None = None
    """sequences that each head imagines from; None: the batch is dealt out among the heads"""

    @property
    def interface(self) -> SpaceLayout:
        return SpaceLayout(
            image=self.image,
            vector=tuple(f"vector{i}" for i in range(self.vector)),
            continuous=tuple(f"action{i}" for i in range(self.continuous)),
            discrete=(("choice", self.choices),) if self.choices else (),
        )


WORKLOADS: Mapping[str, Workload] = {
    "demo": Workload("demo", heads=2, length=32, vector=5, continuous=1),
    "proprio-1m": Workload("1m", vector=24, continuous=6),
    "pixels-12m": Workload("12m", image=(64, 64, 3), choices=18),
}


class SyntheticLearner:
    """A fresh world with fresh heads and one random batch, updated as often as asked."""

    def __init__(
        self,
        workload: Workload,
        device: Literal["cpu", "cuda"] = "cpu",
        precision: Precision = "auto",
        fast: bool = True,
        seed: int = 0,
        stack_from: int = LEAST,
    ) -> None:
        torch.manual_seed(seed)
        interface = workload.interface
        self.workload = workload
        self.world = World(interface, WorldSettings.model_validate({"size": workload.size})).to(device)
        self.heads = {f"head{i}": self._head(f"head{i}").to(device) for i in range(workload.heads)}
        if fast:
            accelerate(self.world, TrainingSettings(device=device, precision=precision))
        self.learner = Learner(
            self.world,
            self.heads,
            OptimizerSettings(),
            seed,
            starts_per_head=workload.starts_per_head,
            stack_from=stack_from,
        )
        self.batch, self.labels = self._data(device)
        self.masks = (torch.ones(workload.batch, workload.vector, device=device), torch.ones(workload.batch).to(device))

    def update(self) -> dict[str, float]:
        """One full update; the metrics that it returns have been read, so the device is done with its losses."""
        return self.learner.update(self.batch, self.labels, *self.masks).metrics

    def losses(self) -> Mapping[str, Tensor]:
        """The terms of one update, with their graph."""
        return self.learner.losses(self.batch, self.labels, *self.masks)[0]

    @property
    def parameters(self) -> int:
        """Trainable numbers of the world and the heads."""
        modules = (self.world, *self.heads.values())
        return sum(p.numel() for module in modules for p in module.parameters() if p.requires_grad)

    def _head(self, name: str) -> ActorCritic:
        interface, task = self.workload.interface, HeadTask(name, EnvironmentReward(), (REWARD,))
        settings = ActorCriticSettings()
        return ActorCritic(HeadContext(interface, interface.mask(interface), self.world.settings, task, settings))

    def _data(self, device: str) -> tuple[Batch, dict[str, HeadLabels]]:
        load, rows = self.workload, (self.workload.batch, self.workload.length)
        action = torch.randn(*rows, load.continuous)
        if load.choices:
            choice = torch.nn.functional.one_hot(torch.randint(load.choices, rows), load.choices)
            action = torch.cat([action, choice.float()], -1)
        never = torch.zeros(rows, dtype=torch.bool, device=device)
        start = self.world.initial(load.batch)
        batch = Batch(
            image=torch.randint(256, (*rows, *load.image), dtype=torch.uint8).to(device) if load.image else None,
            vector=torch.randn(*rows, load.vector).to(device),
            previous_action=action.to(device),
            action=action.to(device),
            signals=torch.zeros(*rows, 0, device=device),
            is_first=never,
            is_last=never,
            is_terminal=never,
            reset_state=never,
            instance=torch.zeros(load.batch, dtype=torch.long, device=device),
            deter=start.deter,
            stoch=start.stoch,
        )
        labels = {name: HeadLabels(torch.randn(rows).to(device), never, ~never) for name in self.heads}
        return batch, labels
