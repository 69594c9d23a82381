"""The recurrent model over many rows, fast: only what must wait for the row before is done row by row.

First the states are found without a graph: the parts of a step that need no state are computed for all rows, the rest
by one compiled step a row. Backwards, the rows give the gradients by what their linear maps gave, one after the other,
without any weight's; the weights' and the tokens' then come from one pass over all rows at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from manyheads.world.execution import Execution
from manyheads.world.rssm import RSSM, Latent, Observed
from manyheads.world.scan_back import Activated, Known, maps_back, steps_back, trained
from manyheads.world.scan_forth import Gradients, Products, Row, cut, groups, prepare, steps


def observe(
    rssm: RSSM, execution: Execution, start: Latent, tokens: Tensor, action: Tensor, first: Tensor, noise: Tensor
) -> Observed:
    """What `RSSM.observe` gives, with its gradients."""
    with torch.no_grad():
        used = execution.for_rows(rssm)
        rows, weights = prepare(used, tokens, action, first, noise)
        forth = execution.region(steps)
        state, states, products = start, [], []
        for at in groups(first.shape[1], start.deter.numel()):
            made, state, product = forth(used, weights, state, cut(rows, at))
            states.append(made)
            products.append(product)
        deter, stoch = (torch.cat([x[:, None], *later], 1) for x, *later in zip(start, *states, strict=True))
        posterior = torch.cat([product.raw for product in products], 1)
    before, latents = Latent(deter[:, :-1], stoch[:, :-1]), Latent(deter[:, 1:], stoch[:, 1:])
    if torch.is_grad_enabled():
        new = latents.deter.detach()  # what is found leads back here, which must not lead there again
        back = _Back(execution, rssm, used, weights, before, new, tokens.detach(), action, rows, products)
        found = (*latents, posterior)
        *found, posterior = Trained.apply(found, back, tokens, *trained(rssm).values())  # type: ignore[no-untyped-call]
        latents = Latent(*found)
    return Observed(latents, posterior, rssm.prior(execution.shorten(latents.deter)))


class _Back(NamedTuple):
    """The way back over the rows."""

    execution: Execution
    rssm: RSSM
    used: RSSM
    """what the rows were computed with"""
    weights: tuple[Tensor, Tensor]
    before: Latent
    new: Tensor
    tokens: Tensor
    action: Tensor
    rows: Row
    products: list[Products]

    def __call__(self, gradients: Gradients) -> tuple[Tensor, ...]:
        """The gradients by tokens and `trained` weights."""
        region = self.execution.region
        owed, found = Latent(*(torch.zeros_like(part[:, 0]) for part in self.before)), []
        groups_of_rows = groups(gradients.deter.shape[1], owed.deter.numel())
        for at, products in reversed([*zip(groups_of_rows, self.products, strict=True)]):
            parts = cut(self.before, at), cut(self.rows, at), products, cut(gradients, at)
            by_products, owed = region(steps_back)(self.used, self.weights, *parts, owed)
            found.append(by_products)
        products = Activated(*(_join(self.products, name) for name in Activated._fields))
        by_products = Products(*(_join(found[::-1], name) for name in Products._fields))
        known = Known(self.before, self.new, self.tokens, self.action, self.rows.keep, products)
        return region(maps_back)(self.rssm, self.execution.dtype, known, by_products)


class Trained(torch.autograd.Function):
    """Gives the states that were found; backwards goes back over all rows."""

    @staticmethod
    def forward(ctx: Any, found: tuple[Tensor, ...], back: _Back, *trained: Tensor) -> tuple[Tensor, ...]:
        ctx.back = back
        return found

    @staticmethod
    @torch.no_grad()
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        dense = [x.contiguous() for x in gradients]  # in any order, each would be compiled for
        return None, None, *ctx.back(Gradients(*dense))


def _join(groups: list[Products], name: str) -> Tensor:
    """One of the products, of all rows."""
    return torch.cat([getattr(group, name) for group in groups], 1)
