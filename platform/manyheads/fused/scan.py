"""The recurrent model over many rows: only what must wait for the previous row is computed row by row.

The states are found without an autograd graph: whatever needs no state is computed for all rows at once, the rest by
one compiled step a row. The backward pass goes over the rows once, for gradients with respect to the outputs of a
step's linear maps; the gradients of all weights and tokens then come from one pass over all rows together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from manyheads.execution.eager import Execution
from manyheads.fused.scan_backward import MapInputs, PreActivations, maps_backward, scan_parameters, steps_backward
from manyheads.fused.scan_forward import Gradients, Products, RowInputs, prepare, row_groups, slice_rows, steps
from manyheads.world.rssm import RSSM, Latent, Observed


def observe_sequence(
    rssm: RSSM, execution: Execution, start: Latent, tokens: Tensor, action: Tensor, reset: Tensor, noise: Tensor
) -> Observed:
    """`manyheads.world.rssm.observe_sequence`, with its gradients."""
    with torch.no_grad():
        used = execution.scan_copy(rssm)
        rows, weights = prepare(used, tokens, action, reset, noise)
        forward = execution.compile(steps)
        state, states, products = start, [], []
        for group in row_groups(reset.shape[1], start.deter.numel()):
            found, state, product = forward(used, weights, state, slice_rows(rows, group))
            states.append(found)
            products.append(product)
        deter, stoch = (torch.cat([x[:, None], *later], 1) for x, *later in zip(start, *states, strict=True))
        posterior = torch.cat([product.raw for product in products], 1)
    previous, latents = Latent(deter[:, :-1], stoch[:, :-1]), Latent(deter[:, 1:], stoch[:, 1:])
    if torch.is_grad_enabled():
        new = latents.deter.detach()  # latents get a graph that leads through this; it must not lead there again
        backward = _Backward(execution, rssm, used, weights, previous, new, tokens.detach(), action, rows, products)
        outputs = (*latents, posterior)
        parameters = scan_parameters(rssm).values()
        *states, posterior = _Scan.apply(outputs, backward, tokens, *parameters)  # type: ignore[no-untyped-call]
        latents = Latent(*states)
    return Observed(latents, posterior, rssm.prior(execution.to_compute_dtype(latents.deter)))


class _Backward(NamedTuple):
    """The backward pass over the rows."""

    execution: Execution
    rssm: RSSM
    used: RSSM
    """what the rows were computed with"""
    weights: tuple[Tensor, Tensor]
    previous: Latent
    new: Tensor
    tokens: Tensor
    action: Tensor
    rows: RowInputs
    products: list[Products]

    def __call__(self, gradients: Gradients) -> tuple[Tensor, ...]:
        """The gradients with respect to tokens and `scan_parameters`."""
        compile = self.execution.compile
        carried, found = Latent(*(torch.zeros_like(part[:, 0]) for part in self.previous)), []
        groups = row_groups(gradients.deter.shape[1], carried.deter.numel())
        for group, products in reversed([*zip(groups, self.products, strict=True)]):
            parts = (
                slice_rows(self.previous, group),
                slice_rows(self.rows, group),
                products,
                slice_rows(gradients, group),
            )
            by_products, carried = compile(steps_backward)(self.used, self.weights, *parts, carried)
            found.append(by_products)
        activations = PreActivations(*(_concatenate(self.products, name) for name in PreActivations._fields))
        by_products = Products(*(_concatenate(found[::-1], name) for name in Products._fields))
        inputs = MapInputs(self.previous, self.new, self.tokens, self.action, self.rows.keep, activations)
        return compile(maps_backward)(self.rssm, self.execution.compute_dtype, inputs, by_products)


class _Scan(torch.autograd.Function):
    """Returns the states that were found; its backward pass goes over all rows."""

    @staticmethod
    def forward(ctx: Any, outputs: tuple[Tensor, ...], backward: _Backward, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.backward = backward
        return outputs

    @staticmethod
    @torch.no_grad()
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        dense = [x.contiguous() for x in gradients]  # each memory layout would be compiled for
        return None, None, *ctx.backward(Gradients(*dense))


def _concatenate(groups: list[Products], name: str) -> Tensor:
    """One of the products, of all rows."""
    return torch.cat([getattr(group, name) for group in groups], 1)
