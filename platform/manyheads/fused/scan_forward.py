"""The forward pass of the scan: what a step over observed rows needs, computes, and hands to the next one."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from manyheads.world.rssm import RSSM, Latent

ROWS, NUMBERS = 4, 32_768
"""the most rows, and numbers in their states, of one call: with more, the fixed cost of a call no longer matters, while
each row of a group takes its time to compile"""


class RowInputs(NamedTuple):
    """What a step needs besides the state; (N, T, ...) for several rows."""

    hidden: Tensor
    """(N, D) the action's contribution to the hidden layer of the blocks"""
    posterior: Tensor
    """(N, hidden) the tokens' contribution to the posterior layer"""
    keep: Tensor
    """(N, 1) 0 where the state is reset, else 1"""
    noise: Tensor
    """(N, G)"""


class Products(NamedTuple):
    """The outputs of a step's linear maps, or the gradients with respect to them; (N, T, ...) for several rows."""

    from_deter: Tensor
    from_stoch: Tensor
    hidden: Tensor
    gates: Tensor
    posterior: Tensor
    raw: Tensor


class Gradients(NamedTuple):
    """With respect to the outputs of the scan; (N, T, ...) for several rows."""

    deter: Tensor
    stoch: Tensor
    posterior: Tensor


Parts = TypeVar("Parts", RowInputs, Products, Gradients, Latent)


def prepare(
    rssm: RSSM, tokens: Tensor, action: Tensor, reset: Tensor, noise: Tensor
) -> tuple[RowInputs, tuple[Tensor, Tensor]]:
    """For all (B, T) rows at once what they need besides the state, and the two weights of the hidden layer."""
    core, dtype = rssm.core, rssm.posterior_logits.weight.dtype
    keep = 1 - reset.to(action.dtype)[..., None]
    for_own, for_common = core.hidden_weights(dtype)
    action_hidden = core.act((action * keep).to(dtype))
    hidden = action_hidden @ for_common[-action_hidden.shape[-1] :] + core.block_hidden.bias
    layer = rssm.posterior_layer.linear
    posterior = tokens.to(dtype) @ layer.weight[:, -tokens.shape[-1] :].T + layer.bias
    return RowInputs(hidden, posterior, keep, noise), (for_own, for_common[: -action_hidden.shape[-1]].contiguous())


def row_groups(rows: int, numbers: int) -> list[slice]:
    """Equal groups of rows, one a call; the states of one row hold so many `numbers`."""
    most = min(ROWS, max(1, NUMBERS // numbers))
    size = max(k for k in range(1, most + 1) if rows % k == 0)
    return [slice(i, i + size) for i in range(0, rows, size)]


def slice_rows(parts: Parts, at: int | slice) -> Parts:
    """Those rows of (N, T, ...) tensors."""
    return type(parts)(*(part[:, at] for part in parts))


def steps(
    rssm: RSSM, weights: tuple[Tensor, Tensor], state: Latent, rows: RowInputs
) -> tuple[Latent, Latent, Products]:
    """Several rows, one after the other: their states, the last state by itself, and the outputs of their maps."""
    states, products = [], []
    for t in range(rows.keep.shape[1]):
        state, product = step(rssm, weights, state, slice_rows(rows, t))
        states.append(state)
        products.append(product)
    return stack_rows(Latent, states), state, stack_rows(Products, products)


def step(rssm: RSSM, weights: tuple[Tensor, Tensor], state: Latent, row: RowInputs) -> tuple[Latent, Products]:
    """`RSSM.observe_step`, from what `prepare` computed."""
    core, layer, (for_own, for_common) = rssm.core, rssm.posterior_layer, weights
    deter, stoch = state.deter * row.keep, (state.stoch * row.keep[..., None]).flatten(-2)
    from_deter = core.from_deter.linear(deter.to(for_own.dtype))
    from_stoch = core.from_stoch.linear(stoch.to(for_own.dtype))
    common = torch.cat([core.from_deter.activate(from_deter), core.from_stoch.activate(from_stoch)], -1)
    own = matmul(in_blocks(deter, for_own), for_own).transpose(0, 1).flatten(-2)
    hidden = own + matmul(common, for_common) + row.hidden
    active = core.activate(hidden).view(len(deter), len(for_own), -1)
    gates = core.block_gates(active.to(for_own.dtype))
    new = core.gate(gates, deter)
    posterior = matmul(new, layer.linear.weight[:, : deter.shape[-1]].T) + row.posterior
    raw = rssm.raw(rssm.posterior_logits(layer.activate(posterior).to(for_own.dtype)))
    sample = rssm.distribution.sample(raw, row.noise)
    return Latent(new, sample), Products(from_deter, from_stoch, hidden, gates, posterior, raw)


def matmul(x: Tensor, weight: Tensor) -> Tensor:
    """The matrix product in the type of the weight, returned in the type of x."""
    return (x.to(weight.dtype) @ weight).to(x.dtype)


def stack_rows(kind: type[Parts], rows: list[Parts]) -> Parts:
    """Rows (N, ...) as (N, T, ...); a single row keeps its memory layout."""
    if len(rows) == 1:
        return kind(*(part[:, None] for part in rows[0]))
    return kind(*(torch.stack(part, 1) for part in zip(*rows, strict=True)))


def in_blocks(x: Tensor, weight: Tensor) -> Tensor:
    """(N, D) as (blocks, N, own)."""
    return x.view(len(x), len(weight), -1).transpose(0, 1)
