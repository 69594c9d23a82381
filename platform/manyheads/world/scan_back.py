"""The scan's way back: gradients by what a step's linear maps gave, row by row; by weights, of all rows at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import vjp
from torch.nn.utils.stateless import _reparametrize_module
from torch.utils._pytree import tree_map

from manyheads.world.networks import by_block
from manyheads.world.rssm import RSSM, Latent
from manyheads.world.scan_forth import Gradients, Products, Row, cut, in_blocks, stacked, times


class Activated(NamedTuple):
    """Of a step's products those that go through a layer's norm and activation."""

    from_deter: Tensor
    from_stoch: Tensor
    hidden: Tensor
    posterior: Tensor


class Known(NamedTuple):
    """What a step's linear maps are given, (N, ...) or (B, T, ...)."""

    before: Latent
    new: Tensor
    """deter"""
    tokens: Tensor
    action: Tensor
    keep: Tensor
    products: Activated


def trained(rssm: RSSM) -> dict[str, Tensor]:
    """The weights that the way over the rows has, by name."""
    return {name: weight for name, weight in rssm.named_parameters() if not name.startswith("prior")}


def step_back(
    rssm: RSSM,
    weights: tuple[Tensor, Tensor],
    before: Latent,
    row: Row,
    products: Products,
    gradient: Gradients,
    owed: Latent,
) -> tuple[Products, Latent]:
    """Of a row, from the gradients by its state and raw posterior and from what later rows add to them: the gradients
    by its products, and the one by the state `before`."""
    core, layer, (for_own, for_common) = rssm.core, rssm.posterior_layer, weights
    by_new, by_sample = gradient.deter + owed.deter, gradient.stoch + owed.stoch
    deter = before.deter * row.keep
    (by_raw,) = vjp(lambda raw: rssm.kind.sample(raw, row.noise), products.raw)[1](by_sample)
    by_raw = by_raw + gradient.posterior
    by_active = times(by_raw.flatten(-2), rssm.posterior_logits.weight)
    (by_posterior,) = vjp(layer.activate, products.posterior)[1](by_active)
    by_new = by_new + times(by_posterior, layer.linear.weight[:, : deter.shape[-1]])
    by_gates, by_deter = vjp(core.gate, products.gates, deter)[1](by_new)
    by_active = times(by_gates.transpose(0, 1), core.block_gates.weight.mT).transpose(0, 1).flatten(-2)
    (by_hidden,) = vjp(core.activate, products.hidden)[1](by_active)
    by_own = times(in_blocks(by_hidden, for_own), for_own.mT).transpose(0, 1).flatten(-2)
    by_common = times(by_hidden, for_common.T).chunk(2, -1)
    (by_from_deter,) = vjp(core.from_deter.activate, products.from_deter)[1](by_common[0])
    (by_from_stoch,) = vjp(core.from_stoch.activate, products.from_stoch)[1](by_common[1])
    by_deter = by_deter + by_own + times(by_from_deter, core.from_deter.linear.weight)
    by_stoch = times(by_from_stoch, core.from_stoch.linear.weight).view_as(before.stoch)
    by_products = Products(by_from_deter, by_from_stoch, by_hidden, by_gates, by_posterior, by_raw)
    return by_products, Latent(by_deter * row.keep, by_stoch * row.keep[..., None])


def steps_back(
    rssm: RSSM,
    weights: tuple[Tensor, Tensor],
    before: Latent,
    rows: Row,
    products: Products,
    gradients: Gradients,
    owed: Latent,
) -> tuple[Products, Latent]:
    """Some rows, from the last to the first: the gradients by their products, and what the row before is owed."""
    found = []
    for t in reversed(range(rows.keep.shape[1])):
        row = cut(before, t), cut(rows, t), cut(products, t), cut(gradients, t)
        by_products, owed = step_back(rssm, weights, *row, owed)
        found.append(by_products)
    return stacked(Products, found[::-1]), owed


def maps_back(rssm: RSSM, dtype: torch.dtype, known: Known, gradients: Products) -> tuple[Tensor, ...]:
    """Of (B, T) rows, from the gradients by their products: those by the tokens and the `trained` weights."""
    rows, by_products = tree_map(lambda x: x.flatten(0, 1), (known, gradients))

    def given(tokens: Tensor, weights: dict[str, Tensor]) -> Products:
        with _reparametrize_module(rssm, weights):
            return maps(rssm, dtype, rows._replace(tokens=tokens))

    by_tokens, by_weights = vjp(given, rows.tokens, trained(rssm))[1](by_products)
    return by_tokens.view_as(known.tokens), *by_weights.values()


def maps(rssm: RSSM, dtype: torch.dtype, known: Known) -> Products:
    """A step's linear maps of N rows, in `dtype`, each of what is known: no gradient goes from one to the next."""
    before, new, tokens, action, keep, products = known
    core, layer = rssm.core, rssm.posterior_layer
    deter, stoch = (before.deter * keep).to(dtype), (before.stoch * keep[..., None]).flatten(-2).to(dtype)
    acted = core.act((action * keep).to(dtype))
    active = [core.from_deter.activate(products.from_deter), core.from_stoch.activate(products.from_stoch), acted]
    for_own, for_common = core.hidden_weights(dtype)
    own = _block_by_block(deter, for_own).flatten(-2)
    hidden = own + torch.cat([part.to(dtype) for part in active], -1) @ for_common + core.block_hidden.bias
    gates = _block_by_block(core.activate(products.hidden).to(dtype), core.block_gates.weight.to(dtype))
    gates = gates + core.block_gates.bias.view(gates.shape[1:])
    posterior = layer.linear(torch.cat([new.to(dtype), tokens.to(dtype)], -1))
    raw = rssm.raw(rssm.posterior_logits(layer.activate(products.posterior).to(dtype)))
    return Products(core.from_deter.linear(deter), core.from_stoch.linear(stoch), hidden, gates, posterior, raw)


def _block_by_block(x: Tensor, weight: Tensor) -> Tensor:
    """(N, D) through a block-diagonal map, (N, blocks, outputs); products have one block after the other in memory,
    forth and back."""
    return torch.stack(torch.bmm(by_block(x.view(len(x), len(weight), -1)), weight).unbind(), 1)
