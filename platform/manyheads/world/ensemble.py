"""An ensemble of one-step predictors of the next latent: where they disagree, the world has seen little."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from manyheads.world.networks import MLP, Linear
from manyheads.world.sizes import WorldSettings


class LatentEnsemble(nn.Module):
    """Predictors of the next latent's stochastic part from a latent's feature and an action.

    Trained by mean squared error they predict its probabilities: what is random in the world they agree on in time
    (Sekar et al. 2020, "Planning to Explore via Self-Supervised World Models").
    """

    def __init__(self, world: WorldSettings, action_size: int, members: int, layers: int) -> None:
        super().__init__()
        self.deter, outputs = world.deter, world.groups * world.classes
        self.members = nn.ModuleList(
            nn.Sequential(MLP(world.feature_size + action_size, world.units, layers), Linear(world.units, outputs))
            for _ in range(members)
        )

    def predict(self, feature: Tensor, action: Tensor) -> Tensor:
        """(members, ..., G * C) from features (..., F) and the actions (..., A) taken there."""
        inputs = torch.cat([feature, action], -1)
        return torch.stack([member(inputs) for member in self.members])

    def errors(self, predicted: Tensor, feature: Tensor) -> Tensor:
        """Squared errors (members, ...) against the features (..., F) that came next."""
        return (predicted - feature[..., self.deter :]).square().mean(-1)

    def variance(self, predicted: Tensor) -> Tensor:
        """How far the members are apart, (...)."""
        return predicted.var(0).mean(-1)
