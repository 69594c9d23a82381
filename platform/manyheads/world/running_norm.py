"""Running mean and standard deviation of each entry of a vector, as replay shows it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from manyheads.errors import ManyheadsError

BATCHES = 1_000
"""batches that count alike; later ones are averaged in exponentially, at the rate of the last of these"""
MIN_STD = 1e-2
"""deviation below which an entry counts as constant and is not magnified further, in the entry's unit"""

LARGEST = 1e15
"""values beyond this count as this, so that squares and their averages are finite in float32"""
OUTLIER = 1e2
"""standard deviations: values further from the mean count as that far, so that one wrong row passes soon"""


class RunningNorm(nn.Module):
    """Normalizes vectors (..., V); the identity before the first `update`."""

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, entries: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(entries))
        self.register_buffer("variance", torch.ones(entries))
        self.register_buffer("batches", torch.zeros(entries))

    def normalize(self, vector: Tensor) -> Tensor:
        """(vector - mean) / std"""
        return (vector - self.mean) / self._std()

    def denormalize(self, normalized: Tensor) -> Tensor:
        """The inverse of `normalize`."""
        return normalized * self._std() + self.mean

    @torch.no_grad()
    def update(self, vector: Tensor, mask: Tensor) -> None:
        """Averages in a batch (B, T, V), of each sequence the entries in its mask (B, V); all on this module's device.

        Values far beyond what is usual are cut, so that mean and variance stay finite and one wrong row passes.
        """
        if vector.shape[::2] != mask.shape:
            raise ManyheadsError(f"A mask for {tuple(vector.shape)} has its first and last size, not {mask.shape}.")
        far = torch.where(self.batches > 0, OUTLIER * self._std(), LARGEST)
        vector = vector.clamp(self.mean - far, self.mean + far).clamp(-LARGEST, LARGEST)
        rows = mask.sum(0) * vector.shape[1]
        share = mask[:, None] / rows.clamp(min=1)
        mean = (share * vector).sum((0, 1))
        variance = (share * (vector - mean).square()).sum((0, 1))
        self.batches += rows > 0
        rate = (rows > 0) / self.batches.clamp(1, BATCHES)
        moved = mean - self.mean
        self.mean += rate * moved
        self.variance.lerp_(variance + (1 - rate) * moved.square(), rate)

    def _std(self) -> Tensor:
        return self.variance.sqrt().clamp(min=MIN_STD)
