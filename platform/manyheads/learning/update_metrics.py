"""What an update measured, on the device until somebody reads it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from manyheads.errors import ManyheadsError


class UpdateMetrics(NamedTuple):
    """Numbers by name, on the device until they are read."""

    names: tuple[str, ...]
    must_be_finite: int
    """how many of the first ones must be finite"""
    values: Tensor

    def and_more(self, other: UpdateMetrics) -> UpdateMetrics:
        """These, then the other's, which need not be finite."""
        return UpdateMetrics(self.names + other.names, self.must_be_finite, torch.cat([self.values, other.values]))

    def read(self) -> dict[str, float]:
        """All of them; waits for the device."""
        return dict(zip(self.names, self.values.tolist(), strict=True))

    def require_finite(self, weights: str) -> None:
        """Raises ManyheadsError that names a loss or gradient which is not finite, whose last words are what
        happened to the `weights`."""
        for name, number in list(self.read().items())[: self.must_be_finite]:
            if number - number != 0:
                raise ManyheadsError(
                    f"{name} became {number}; {weights}. Look for NaN or huge values in observations or rewards; "
                    "a lower optimizer.lr may help."
                )
