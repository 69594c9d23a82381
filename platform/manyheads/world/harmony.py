"""Learned weights of a world's losses (HarmonyDream: Ma et al. 2024, "Task Harmonization Inside World Models")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manyheads.world.grow import LayoutAxis, channel_entries, vector_entries


class Harmony(nn.Module):
    """One number s for each term: a loss L counts as L / exp(s) + log(1 + exp(s)).

    s starts at 0, where L has the weight 1 that it has without. Held at L, it ends where L / exp(s) = sigmoid(s),
    so that a large loss counts as nearly 1, whatever its unit, and a small one as its square root.
    """

    def __init__(self, terms: Iterable[str]) -> None:
        super().__init__()
        self.s = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in terms})

    def layout_axes(self) -> Mapping[str, LayoutAxis]:
        observed = {"vector": vector_entries, "image": channel_entries}
        return {f"s.{name}": LayoutAxis(None, entries) for name, entries in observed.items() if name in self.s}

    def forward(self, name: str, loss: Tensor) -> Tensor:
        """The term as it counts, in the shape of `loss`."""
        s: Tensor = self.s[name]
        return loss * torch.exp(-s) + F.softplus(s)

    @torch.no_grad()
    def weights(self) -> dict[str, Tensor]:
        """The factor 1 / exp(s) of each term."""
        return {name: torch.exp(-s) for name, s in self.s.items()}
