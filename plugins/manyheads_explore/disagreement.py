"""Plan2Explore (Sekar et al. 2020, "Planning to Explore via Self-Supervised World Models"): reward where an ensemble of
one-step predictors disagrees, which is where the world model has little data, not where the world is noisy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from manyheads.blocks import LatentEnsemble, masked_mean
from manyheads.rewards.contract import LatentRows
from manyheads.rewards.sources import SignalSource

if TYPE_CHECKING:
    from manyheads.world.sizes import WorldSettings

SCALE_RATE = 0.01
"""share of a new batch in the running mean of disagreement"""


class Disagreement(SignalSource):
    """A reward source over latents. From signals alone nothing is earned, so returns in the simulator are 0."""

    reads: Literal["signals", "latents"] = "latents"

    def __init__(self, members: int, layers: int) -> None:
        super().__init__({"reward"})  # for the shape of the rows
        self.own_rows_only = False
        self.members, self.layers = members, layers

    def earn(self, signals: Mapping[str, Tensor]) -> tuple[Tensor, None]:
        return torch.zeros_like(signals["reward"]), None

    def networks(self, world: WorldSettings, action_size: int) -> Ensemble:
        """The ensemble, with fresh weights."""
        return Ensemble(world, action_size, self.members, self.layers)


class Ensemble(LatentEnsemble):
    """The reward of the ensemble's disagreement, over its running mean."""

    scale: Tensor
    batches: Tensor

    def __init__(self, world: WorldSettings, action_size: int, members: int, layers: int) -> None:
        super().__init__(world, action_size, members, layers)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, rows: LatentRows) -> Tensor:
        """The reward (B, T) of arriving in each row: the members' variance over its running mean."""
        return self.variance(self.predict(rows.previous_feature, rows.previous_action)) * rows.valid / self.scale

    def loss(self, rows: LatentRows) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error () of all members, metrics without gradients; the running mean moves along."""
        predicted = self.predict(rows.previous_feature, rows.previous_action)
        errors = self.errors(predicted, rows.feature)
        loss = masked_mean(errors, rows.valid.expand(errors.shape))
        with torch.no_grad():
            disagreement = masked_mean(self.variance(predicted), rows.valid)
            self.batches += 1
            self.scale.lerp_(disagreement.clamp(min=1e-8), (1 / self.batches).clamp(min=SCALE_RATE))
        return loss, {"disagreement": disagreement, "ensemble": loss.detach()}
