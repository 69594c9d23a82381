"""Lambda returns and the scale that they are measured by."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Measured = tuple[Tensor, Tensor]
"""low and high percentile of returns, ()"""


def lambda_return(
    reward: Tensor, terminal: Tensor, last: Tensor, boot: Tensor, discount: float, trace: float
) -> Tensor:
    """Lambda returns (N, T - 1) of sequences (N, T), the last starting from `boot[:, -1]`.

    Reward and terminal of row t + 1 belong to the return at row t; `last` cuts the trace there, not the
    bootstrap. `terminal` may be soft: one minus the probability to continue.
    """
    live = (1 - terminal[:, 1:]) * discount
    through = (1 - last[:, 1:]) * trace
    own = torch.cat([reward[:, 1:] + live * (1 - through) * boot[:, 1:], boot[:, -1:]], 1)
    carried = F.pad(live * through, (0, 1))
    span = 1
    while span < own.shape[1]:  # return[t] = own[t] + carried[t] * return[t + 1], over doubling spans
        own = own + carried * F.pad(own[:, span:], (0, span))
        carried = carried * F.pad(carried[:, span:], (0, span))
        span *= 2
    return own[:, :-1]


def quantiles(values: Tensor, valid: Tensor, levels: Tensor) -> Tensor:
    """Quantiles (L,) of what is `valid` in values (any shape), between two of them in proportion; NaN of nothing.

    `torch.nanquantile`, but on a CPU that one looks at its levels before torch 2.13, which no compiled graph may.
    """
    ordered = values.masked_fill(~valid, torch.nan).flatten().sort().values  # NaN comes last
    rank = levels * (valid.sum() - 1).clamp(min=0)
    return torch.lerp(ordered[rank.floor().long()], ordered[rank.ceil().long()], rank.frac())


class ReturnScale(nn.Module):
    """Running 5th and 95th percentile of imagined returns; their distance, at least 1, is the scale.

    They start at 0 and are not debiased.
    """

    low: Tensor
    high: Tensor
    levels: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.register_buffer("levels", torch.tensor([0.05, 0.95]), persistent=False)
        self.measured: Measured | None = None

    def measure(self, returns: Tensor, valid: Tensor) -> Tensor:
        """The scale with these returns (any shape) taken in where `valid`; `commit` keeps them."""
        low, high = quantiles(returns, valid, self.levels)
        self.measured = (self._follow(self.low, low), self._follow(self.high, high))
        return (self.measured[1] - self.measured[0]).clamp(min=1)

    def commit(self) -> None:
        """Keeps what the last `measure` saw."""
        if self.measured is not None:
            self.low.copy_(self.measured[0])
            self.high.copy_(self.measured[1])
            self.measured = None

    def _follow(self, kept: Tensor, seen: Tensor) -> Tensor:
        followed = (1 - self.rate) * kept + self.rate * seen
        return torch.where(seen.isnan(), kept, followed)  # no valid return at all changes nothing
