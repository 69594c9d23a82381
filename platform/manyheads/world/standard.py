"""What is usual in each place of a vector: its mean and deviation, as replay shows them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from manyheads.errors import ManyheadsError

BATCHES = 1_000
"""how many batches weigh alike; later ones come in at the rate of the last of them"""
LEAST = 1e-2
"""deviation, in natural units, below which a place counts as at rest and is not magnified further"""


class Standard(nn.Module):
    """Vectors (..., V) less their mean, over their deviation; nothing changes them before the first batch is known."""

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, places: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(places))
        self.register_buffer("variance", torch.ones(places))
        self.register_buffer("batches", torch.zeros(places))

    def forward(self, vector: Tensor) -> Tensor:
        return (vector - self.mean) / self._deviation()

    def natural(self, standard: Tensor) -> Tensor:
        """What `forward` made `standard` of."""
        return standard * self._deviation() + self.mean

    @torch.no_grad()
    def take_in(self, vector: Tensor, mask: Tensor) -> None:
        """Learns from a batch (B, T, V), of each sequence the places that it has, mask (B, V); all on its device."""
        if vector.shape[::2] != mask.shape:
            raise ManyheadsError(f"A mask for {tuple(vector.shape)} has its first and last size, not {mask.shape}.")
        rows = mask.sum(0) * vector.shape[1]
        share = mask[:, None] / rows.clamp(min=1)
        mean = (share * vector).sum((0, 1))
        variance = (share * (vector - mean).square()).sum((0, 1))
        self.batches += rows > 0
        rate = (rows > 0) / self.batches.clamp(1, BATCHES)
        moved = mean - self.mean
        self.mean += rate * moved
        self.variance.lerp_(variance + (1 - rate) * moved.square(), rate)

    def _deviation(self) -> Tensor:
        return self.variance.sqrt().clamp(min=LEAST)
