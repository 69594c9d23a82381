"""Lambda returns and the scale that they are measured by."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def lambda_return(
    reward: Tensor, terminal: Tensor, last: Tensor, boot: Tensor, discount: float, trace: float
) -> Tensor:
    """Lambda returns (N, T - 1) of sequences (N, T), the last starting from `boot[:, -1]`.

    Reward and terminal of row t + 1 belong to the return at row t; `last` cuts the trace there, not the
    bootstrap. `terminal` may be soft: one minus the probability to continue.
    """
    live = (1 - terminal[:, 1:]) * discount
    through = (1 - last[:, 1:]) * trace
    own = reward[:, 1:] + live * (1 - through) * boot[:, 1:]
    carried = live * through
    returns = [boot[:, -1]]
    for t in reversed(range(own.shape[1])):
        returns.append(own[:, t] + carried[:, t] * returns[-1])
    return torch.stack(returns[:0:-1], 1) if len(returns) > 1 else own


class ReturnScale(nn.Module):
    """Running 5th and 95th percentile of imagined returns; their distance, at least 1, is the scale.

    They start at 0 and are not debiased.
    """

    low: Tensor
    high: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self._next: tuple[Tensor, Tensor] | None = None

    def measure(self, returns: Tensor, valid: Tensor) -> Tensor:
        """The scale with these returns (any shape) taken in where `valid`; `commit` keeps them."""
        levels = returns.new_tensor([0.05, 0.95])
        low, high = torch.nanquantile(returns.masked_fill(~valid, torch.nan), levels)
        self._next = (self._follow(self.low, low), self._follow(self.high, high))
        return (self._next[1] - self._next[0]).clamp(min=1)

    def commit(self) -> None:
        """Keeps what the last `measure` saw."""
        if self._next is not None:
            self.low.copy_(self._next[0])
            self.high.copy_(self._next[1])
            self._next = None

    def _follow(self, kept: Tensor, seen: Tensor) -> Tensor:
        followed = (1 - self.rate) * kept + self.rate * seen
        return torch.where(seen.isnan(), kept, followed)  # no valid return at all changes nothing
