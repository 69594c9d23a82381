"""What a head predicts of a state: a number over symexp-spaced bins, and whether the episode continues."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from manyheads.world.distributions import (
    BINS,
    TwoBins,
    paired,
    paired_mean,
    two_bins,
    two_hot_bins,
    two_hot_loss,
    two_hot_mean,
)
from manyheads.world.networks import MLP, Linear


class TwoHotHead(nn.Module):
    """A number as a distribution over 255 symexp-spaced bins; starts at exactly 0 everywhere."""

    bins: Tensor

    def __init__(self, inputs: int, units: int, layers: int) -> None:
        super().__init__()
        self.layers = MLP(inputs, units, layers)
        self.out = Linear(units, BINS, scale=0)
        self.register_buffer("bins", two_hot_bins(), persistent=False)

    def forward(self, feature: Tensor) -> Tensor:
        """Logits (..., 255)."""
        logits: Tensor = self.out(self.layers(feature))
        return logits

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (..., 255) from the output of `layers`, computed as 256 columns: the product with an unaligned 255
        takes twice as long."""
        weight = F.pad(self.out.weight, (0, 0, 0, 1))
        return F.linear(hidden, weight.to(hidden.dtype))[..., :BINS].to(self.out.bias.dtype) + self.out.bias

    def expected(self, hidden: Tensor) -> Tensor:
        """The mean (...) from the output of `layers`; mirrored bins come out of the last map in pairs."""
        weight, bias = paired(self.out.weight, 0, 0), paired(self.out.bias, 0, -math.inf)
        return paired_mean(F.linear(hidden, weight.to(hidden.dtype)).to(bias.dtype) + bias, self.bins)

    def mean(self, logits: Tensor) -> Tensor:
        return two_hot_mean(logits, self.bins)

    def bins_around(self, target: Tensor) -> TwoBins:
        return two_bins(target, self.bins)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy (...) with targets (...)."""
        return two_hot_loss(logits, self.bins_around(target))


class ContinueHead(nn.Module):
    """The logit (...) of continuing after a row."""

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.layers = MLP(inputs, units, layers=1)
        self.out = Linear(units, 1)

    def forward(self, feature: Tensor) -> Tensor:
        logit: Tensor = self.out(self.layers(feature))
        return logit.squeeze(-1)
