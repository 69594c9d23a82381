"""Rewards computed from latents, by networks that their sources provide and that train while the world does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from manyheads.execution.eager import Execution
from manyheads.experience.batch import Batch
from manyheads.learning.optimizer import LaProp
from manyheads.learning.update_metrics import UpdateMetrics
from manyheads.rewards.contract import LatentRewardSource, LatentRows
from manyheads.settings import OptimizerSettings
from manyheads.task import Task
from manyheads.world.model import Latent, World

EAGER = Execution()
"""so small a step is not worth compiling"""
RewardLoss = Callable[[LatentRows], tuple[Tensor, Mapping[str, Tensor]]]
"""the `loss` of a source's networks: what they minimise, and metrics by name"""


def latent_rows(batch: Batch, latents: Latent) -> LatentRows:
    """The transitions into a batch's rows, from their latents (B, T); the first one's comes from replay."""
    start = Latent(batch.deter[:, None], batch.stoch[:, None]).feature
    feature = latents.detach().feature
    previous = torch.cat([start.to(feature.dtype), feature[:, :-1]], 1)
    return LatentRows(previous, batch.previous_action.clone(), feature, ~(batch.is_first | batch.reset_state))


class LatentRewards:
    """The networks of every task whose reward source reads latents, each with its own optimiser."""

    def __init__(self, world: World, tasks: Sequence[Task], settings: OptimizerSettings, seed: int) -> None:
        self.networks: dict[str, nn.Module] = {}
        for task in tasks:
            if isinstance(task.reward, LatentRewardSource):
                with torch.random.fork_rng():
                    digest = hashlib.sha256(f"{seed} {task.name} reward".encode()).digest()
                    torch.manual_seed(int.from_bytes(digest[:4], "little"))
                    networks = task.reward.networks(world.settings, world.interface.action_size)
                self.networks[task.name] = networks.to(world.device)
        self.optimizers = {
            name: LaProp(dict(module.named_parameters()), settings) for name, module in self.networks.items()
        }

    def update(self, batch: Batch, latents: Latent, masks: Mapping[str, Tensor]) -> UpdateMetrics:
        """One step of each from latents (B, T) of the rows in each task's mask (B, T)."""
        names, values = [], [torch.zeros(0, device=batch.is_first.device)]
        for name, network in self.networks.items():
            rows = latent_rows(batch, latents)
            loss_of = cast("RewardLoss", network.loss)
            loss, metrics = loss_of(rows._replace(valid=rows.valid & masks[name]))
            torch.autograd.backward(loss)
            self.optimizers[name].step(self.optimizers[name].gradient_norms(), EAGER)
            names += [f"{name}/{key}" for key in metrics]
            values.append(torch.stack([*metrics.values()]))
        return UpdateMetrics(tuple(names), 0, torch.cat(values))

    def state_dict(self, name: str) -> dict[str, Tensor]:
        """Networks and optimiser of one task's source; empty where it has none."""
        if name not in self.networks:
            return {}
        weights = {f"weights/{key}": tensor for key, tensor in self.networks[name].state_dict().items()}
        return weights | {f"optimizer/{key}": x for key, x in self.optimizers[name].state_dict().items()}

    def load_state_dict(self, name: str, state: Mapping[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""
        parts: dict[str, dict[str, Tensor]] = {"weights": {}, "optimizer": {}}
        for key, tensor in state.items():
            part, _, own = key.partition("/")
            parts[part][own] = tensor
        self.networks[name].load_state_dict(parts["weights"])
        self.optimizers[name].load_state_dict(parts["optimizer"])
