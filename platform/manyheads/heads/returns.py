"""Lambda returns and the scale by which they are divided."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def lambda_return(
    reward: Tensor, is_terminal: Tensor, is_last: Tensor, bootstrap: Tensor, discount: float, lam: float
) -> Tensor:
    """Lambda returns (N, T - 1) of sequences (N, T), the last one from `bootstrap[:, -1]`.

    Reward and `is_terminal` of row t + 1 belong to the return at row t; `is_last` cuts the trace there, not the
    bootstrap. `is_terminal` may be soft: one minus the probability to continue.
    """
    live = (1 - is_terminal[:, 1:]) * discount
    traced = (1 - is_last[:, 1:]) * lam
    own = torch.cat([reward[:, 1:] + live * (1 - traced) * bootstrap[:, 1:], bootstrap[:, -1:]], 1)
    carried = F.pad(live * traced, (0, 1))
    span = 1
    while span < own.shape[1]:  # return[t] = own[t] + carried[t] * return[t + 1], over doubling spans
        own = own + carried * F.pad(own[:, span:], (0, span))
        carried = carried * F.pad(carried[:, span:], (0, span))
        span *= 2
    return own[:, :-1]


def quantiles(values: Tensor, valid: Tensor, levels: Tensor) -> Tensor:
    """Quantiles (L,) of the `valid` values (any shape), linearly interpolated; NaN where there are none.

    `torch.nanquantile`, which before torch 2.13 reads its levels on a CPU, as no compiled graph may.
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

    def forward(self, returns: Tensor, valid: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The scale () that counts these returns (any shape) where `valid`, and the new `low` and `high`."""
        low, high = quantiles(returns, valid, self.levels)
        new = {"low": self._follow(self.low, low), "high": self._follow(self.high, high)}
        return (new["high"] - new["low"]).clamp(min=1), new

    def _follow(self, kept: Tensor, seen: Tensor) -> Tensor:
        followed = (1 - self.rate) * kept + self.rate * seen
        return torch.where(seen.isnan(), kept, followed)  # without any valid return nothing changes
