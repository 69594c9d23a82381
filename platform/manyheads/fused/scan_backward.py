"""The backward pass of the scan: gradients with respect to the outputs of a step's linear maps row by row, those by
weights for all rows at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp

from manyheads.execution.trees import map_tensors
from manyheads.fused.scan_forward import Gradients, Products, RowInputs, in_blocks, matmul, slice_rows, stack_rows
from manyheads.world.networks import by_block
from manyheads.world.rssm import RSSM, Latent


class PreActivations(NamedTuple):
    """The products of a step that go through a norm and an activation."""

    from_deter: Tensor
    from_stoch: Tensor
    hidden: Tensor
    posterior: Tensor


class MapInputs(NamedTuple):
    """The inputs of a step's linear maps, (N, ...) or (B, T, ...)."""

    previous: Latent
    new: Tensor
    """deter"""
    tokens: Tensor
    action: Tensor
    keep: Tensor
    products: PreActivations


def scan_parameters(rssm: RSSM) -> dict[str, Tensor]:
    """The parameters that the scan uses, by name."""
    return {name: weight for name, weight in rssm.named_parameters() if not name.startswith("prior")}


def step_backward(
    rssm: RSSM,
    weights: tuple[Tensor, Tensor],
    previous: Latent,
    row: RowInputs,
    products: Products,
    gradient: Gradients,
    carried: Latent,
) -> tuple[Products, Latent]:
    """The gradients with respect to a row's products and by its previous state, from the gradients with respect to its
    state and raw posterior and those `carried` from later rows."""
    core, layer, (for_own, for_common) = rssm.core, rssm.posterior_layer, weights
    by_new, by_sample = gradient.deter + carried.deter, gradient.stoch + carried.stoch
    deter = previous.deter * row.keep
    (by_raw,) = vjp(lambda raw: rssm.distribution.sample(raw, row.noise), products.raw)[1](by_sample)
    by_raw = by_raw + gradient.posterior
    by_active = matmul(by_raw.flatten(-2), rssm.posterior_logits.weight)
    (by_posterior,) = vjp(layer.activate, products.posterior)[1](by_active)
    by_new = by_new + matmul(by_posterior, layer.linear.weight[:, : deter.shape[-1]])
    by_gates, by_deter = vjp(core.gate, products.gates, deter)[1](by_new)
    by_active = matmul(by_gates.transpose(0, 1), core.block_gates.weight.mT).transpose(0, 1).flatten(-2)
    (by_hidden,) = vjp(core.activate, products.hidden)[1](by_active)
    by_own = matmul(in_blocks(by_hidden, for_own), for_own.mT).transpose(0, 1).flatten(-2)
    by_common = matmul(by_hidden, for_common.T).chunk(2, -1)
    (by_from_deter,) = vjp(core.from_deter.activate, products.from_deter)[1](by_common[0])
    (by_from_stoch,) = vjp(core.from_stoch.activate, products.from_stoch)[1](by_common[1])
    by_deter = by_deter + by_own + matmul(by_from_deter, core.from_deter.linear.weight)
    by_stoch = matmul(by_from_stoch, core.from_stoch.linear.weight).view_as(previous.stoch)
    by_products = Products(by_from_deter, by_from_stoch, by_hidden, by_gates, by_posterior, by_raw)
    return by_products, Latent(by_deter * row.keep, by_stoch * row.keep[..., None])


def steps_backward(
    rssm: RSSM,
    weights: tuple[Tensor, Tensor],
    previous: Latent,
    rows: RowInputs,
    products: Products,
    gradients: Gradients,
    carried: Latent,
) -> tuple[Products, Latent]:
    """Several rows, from the last to the first: the gradients with respect to their products, and by the state
    before them."""
    found = []
    for t in reversed(range(rows.keep.shape[1])):
        row = slice_rows(previous, t), slice_rows(rows, t), slice_rows(products, t), slice_rows(gradients, t)
        by_products, carried = step_backward(rssm, weights, *row, carried)
        found.append(by_products)
    return stack_rows(Products, found[::-1]), carried


def maps_backward(rssm: RSSM, dtype: torch.dtype, inputs: MapInputs, gradients: Products) -> tuple[Tensor, ...]:
    """The gradients with respect to the tokens and `scan_parameters` of (B, T) rows, from those with respect to
    their products."""
    rows, by_products = map_tensors(lambda x: x.flatten(0, 1), (inputs, gradients))

    def products(tokens: Tensor, weights: dict[str, Tensor]) -> Products:
        found: Products = functional_call(_Maps(rssm), weights, (dtype, rows._replace(tokens=tokens)))
        return found

    parameters = {f"rssm.{name}": weight for name, weight in scan_parameters(rssm).items()}
    by_tokens, by_weights = vjp(products, rows.tokens, parameters)[1](by_products)
    return by_tokens.view_as(inputs.tokens), *by_weights.values()


class _Maps(nn.Module):
    """`linear_maps` as a module, whose parameters can be replaced."""

    def __init__(self, rssm: RSSM) -> None:
        super().__init__()
        self.rssm = rssm

    def forward(self, dtype: torch.dtype, inputs: MapInputs) -> Products:
        return linear_maps(self.rssm, dtype, inputs)


def linear_maps(rssm: RSSM, dtype: torch.dtype, inputs: MapInputs) -> Products:
    """A step's linear maps of N rows in `dtype`, each from its known inputs: no gradient flows from one to the next."""
    previous, new, tokens, action, keep, products = inputs
    core, layer = rssm.core, rssm.posterior_layer
    deter, stoch = (previous.deter * keep).to(dtype), (previous.stoch * keep[..., None]).flatten(-2).to(dtype)
    action_hidden = core.act((action * keep).to(dtype))
    active = [
        core.from_deter.activate(products.from_deter),
        core.from_stoch.activate(products.from_stoch),
        action_hidden,
    ]
    for_own, for_common = core.hidden_weights(dtype)
    own = _block_by_block(deter, for_own).flatten(-2)
    hidden = own + torch.cat([part.to(dtype) for part in active], -1) @ for_common + core.block_hidden.bias
    gates = _block_by_block(core.activate(products.hidden).to(dtype), core.block_gates.weight.to(dtype))
    gates = gates + core.block_gates.bias.view(gates.shape[1:])
    posterior = layer.linear(torch.cat([new.to(dtype), tokens.to(dtype)], -1))
    raw = rssm.raw(rssm.posterior_logits(layer.activate(products.posterior).to(dtype)))
    return Products(core.from_deter.linear(deter), core.from_stoch.linear(stoch), hidden, gates, posterior, raw)


def _block_by_block(x: Tensor, weight: Tensor) -> Tensor:
    """(N, D) through a block-diagonal map, (N, blocks, outputs); in memory one block after the other, in both
    passes."""
    return torch.stack(torch.bmm(by_block(x.view(len(x), len(weight), -1)), weight).unbind(), 1)
