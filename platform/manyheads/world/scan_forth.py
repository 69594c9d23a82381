"""The scan's way forth: what a step over observed rows needs, makes, and gives to the next one."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from manyheads.world.rssm import RSSM, Latent

ROWS, NUMBERS = 4, 32_768
"""in a call, at most: rows, and numbers in their states; a call's fixed cost is little beside more, and each row of a
group takes its time to compile"""


class Row(NamedTuple):
    """What a step needs beside the state; (N, T, ...) for several rows."""

    hidden: Tensor
    """(N, D) what the action gives to the blocks' hidden part"""
    posterior: Tensor
    """(N, hidden) what the tokens give to the posterior"""
    keep: Tensor
    """(N, 1) 0 where the row is a first one"""
    noise: Tensor
    """(N, G)"""


class Products(NamedTuple):
    """What a step's linear maps gave, or the gradients by it; (N, T, ...) for several rows."""

    from_deter: Tensor
    from_stoch: Tensor
    hidden: Tensor
    gates: Tensor
    posterior: Tensor
    raw: Tensor


class Gradients(NamedTuple):
    """By what `observe` gives; (N, T, ...) for several rows."""

    deter: Tensor
    stoch: Tensor
    posterior: Tensor


Parts = TypeVar("Parts", Row, Products, Gradients, Latent)


def prepare(
    rssm: RSSM, tokens: Tensor, action: Tensor, first: Tensor, noise: Tensor
) -> tuple[Row, tuple[Tensor, Tensor]]:
    """All (B, T) rows at once: what they need beside the state; and the two maps of the hidden part."""
    core, dtype = rssm.core, rssm.posterior_logits.weight.dtype
    keep = 1 - first.to(action.dtype)[..., None]
    for_own, for_common = core.hidden_weights(dtype)
    acted = core.act((action * keep).to(dtype))
    hidden = acted @ for_common[-acted.shape[-1] :] + core.block_hidden.bias
    layer = rssm.posterior_layer.linear
    posterior = tokens.to(dtype) @ layer.weight[:, -tokens.shape[-1] :].T + layer.bias
    return Row(hidden, posterior, keep, noise), (for_own, for_common[: -acted.shape[-1]].contiguous())


def groups(rows: int, numbers: int) -> list[slice]:
    """Equal groups of rows that one call goes through; there are so many `numbers` in the states of one row."""
    most = min(ROWS, max(1, NUMBERS // numbers))
    size = max(k for k in range(1, most + 1) if rows % k == 0)
    return [slice(i, i + size) for i in range(0, rows, size)]


def cut(parts: Parts, at: int | slice) -> Parts:
    """Of (N, T, ...) tensors those rows."""
    return type(parts)(*(part[:, at] for part in parts))


def steps(rssm: RSSM, weights: tuple[Tensor, Tensor], state: Latent, rows: Row) -> tuple[Latent, Latent, Products]:
    """Some rows, one after the other: their states, the last one by itself, and what their maps gave."""
    states, products = [], []
    for t in range(rows.keep.shape[1]):
        state, product = step(rssm, weights, state, cut(rows, t))
        states.append(state)
        products.append(product)
    return stacked(Latent, states), state, stacked(Products, products)


def step(rssm: RSSM, weights: tuple[Tensor, Tensor], state: Latent, row: Row) -> tuple[Latent, Products]:
    """`RSSM.observe_step`, given what was prepared."""
    core, layer, (for_own, for_common) = rssm.core, rssm.posterior_layer, weights
    deter, stoch = state.deter * row.keep, (state.stoch * row.keep[..., None]).flatten(-2)
    from_deter = core.from_deter.linear(deter.to(for_own.dtype))
    from_stoch = core.from_stoch.linear(stoch.to(for_own.dtype))
    common = torch.cat([core.from_deter.activate(from_deter), core.from_stoch.activate(from_stoch)], -1)
    own = times(in_blocks(deter, for_own), for_own).transpose(0, 1).flatten(-2)
    hidden = own + times(common, for_common) + row.hidden
    active = core.activate(hidden).view(len(deter), len(for_own), -1)
    gates = core.block_gates(active.to(for_own.dtype))
    new = core.gate(gates, deter)
    posterior = times(new, layer.linear.weight[:, : deter.shape[-1]].T) + row.posterior
    raw = rssm.raw(rssm.posterior_logits(layer.activate(posterior).to(for_own.dtype)))
    sample = rssm.kind.sample(raw, row.noise)
    return Latent(new, sample), Products(from_deter, from_stoch, hidden, gates, posterior, raw)


def times(x: Tensor, weight: Tensor) -> Tensor:
    """Their product, multiplied in the weight's type, of the type of x."""
    return (x.to(weight.dtype) @ weight).to(x.dtype)


def stacked(kind: type[Parts], rows: list[Parts]) -> Parts:
    """Rows (N, ...) as (N, T, ...); one row by itself keeps its order in memory."""
    if len(rows) == 1:
        return kind(*(part[:, None] for part in rows[0]))
    return kind(*(torch.stack(part, 1) for part in zip(*rows, strict=True)))


def in_blocks(x: Tensor, weight: Tensor) -> Tensor:
    """(N, D) as (blocks, N, own)."""
    return x.view(len(x), len(weight), -1).transpose(0, 1)
