"""The recurrent model over many rows, fast: only what must wait for the row before is done row by row.

First the states are found without a graph, one compiled step a row. Given its previous state each row then stands
alone, so one pass over all rows at once ties the states to weights and tokens. What rows owe to later rows is added
by `Link`, whose backward pass goes back over the rows through the step's derivative by the previous state alone.
Nothing of the model is written twice: steps and pass are `RSSM`'s own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from manyheads.world.execution import Execution
from manyheads.world.rssm import RSSM, Latent, Observed

Row = tuple[Tensor, Tensor, Tensor, Tensor]
"""tokens, previous action, first, noise: (N, ...) each"""
State = tuple[Tensor, Tensor, Tensor]
"""deter, stoch, raw posterior"""


def observe(
    rssm: RSSM, execution: Execution, start: Latent, tokens: Tensor, action: Tensor, first: Tensor, noise: Tensor
) -> Observed:
    """What `RSSM.observe` gives, with its gradients."""
    full = (tokens.detach().to(start.deter.dtype), action, first, noise)
    by_row = tuple(x.transpose(0, 1).contiguous() for x in full)
    with torch.no_grad():
        previous, states = roll(execution.region(step), rssm, start, by_row)
    rolled = tuple(x.transpose(0, 1) for x in states)
    if torch.is_grad_enabled():
        known = tuple(x.transpose(0, 1) for x in previous)
        graph = execution.region(all_rows)(rssm, execution.dtype, *known, tokens, action, first, noise)
        back = execution.region(step_back)
        rolled = Link.apply(*graph, *rolled, rssm, back, previous, by_row)  # type: ignore[no-untyped-call]
    deter, stoch, posterior = rolled
    prior = execution.region(RSSM.prior)(rssm, execution.shorten(deter))
    return Observed(Latent(deter, stoch), posterior, prior)


def roll(
    step: Callable[..., State], rssm: RSSM, start: Latent, by_row: tuple[Tensor, ...]
) -> tuple[tuple[Tensor, Tensor], State]:
    """The state before each row, and of each row: (T, B, ...)."""
    states: list[State] = []
    deter, stoch = start
    for row in zip(*by_row, strict=True):
        state = step(rssm, deter, stoch, *row)
        states.append(state)
        deter, stoch, _ = state
    deters, stochs, posteriors = (torch.stack(column) for column in zip(*states, strict=True))
    before = (torch.cat([start.deter[None], deters[:-1]]), torch.cat([start.stoch[None], stochs[:-1]]))
    return before, (deters, stochs, posteriors)


def step(
    rssm: RSSM, deter: Tensor, stoch: Tensor, tokens: Tensor, action: Tensor, first: Tensor, noise: Tensor
) -> State:
    """One row of N sequences."""
    latent, posterior = rssm.observe_step(Latent(deter, stoch), tokens, action, first, noise)
    return latent.deter, latent.stoch, posterior


def step_back(rssm: RSSM, deter: Tensor, stoch: Tensor, row: Row, gradients: State) -> tuple[Tensor, Tensor]:
    """The gradient by the state before, from the gradient by the state of a row."""
    _, pull = torch.func.vjp(lambda d, s: step(rssm, d, s, *row), deter, stoch)
    by_deter, by_stoch = pull(gradients)
    return by_deter, by_stoch


def all_rows(
    rssm: RSSM,
    dtype: torch.dtype,
    deter: Tensor,
    stoch: Tensor,
    tokens: Tensor,
    action: Tensor,
    first: Tensor,
    noise: Tensor,
) -> State:
    """All (B, T) rows at once from the states before them."""
    flat = (x.flatten(0, 1) for x in (deter, stoch.to(dtype), tokens.to(dtype), action, first, noise))
    state = step(rssm, *flat)
    shape = first.shape
    return tuple(x.unflatten(0, shape) for x in state)  # type: ignore[return-value]


class Link(torch.autograd.Function):
    """Gives the rolled states; backwards, adds to the gradient by each row's state what later rows owe to it."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> State:
        _, _, _, deter, stoch, posterior, ctx.rssm, ctx.back, ctx.previous, ctx.by_row = inputs
        return deter.clone(), stoch.clone(), posterior.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        by_deter, by_stoch, by_posterior = (x.transpose(0, 1).contiguous() for x in gradients)
        before = list(zip(*ctx.previous, strict=True))
        rows = list(zip(*ctx.by_row, strict=True))
        with torch.no_grad():
            for t in range(len(rows) - 1, 0, -1):
                own = (by_deter[t], by_stoch[t], by_posterior[t])
                owed = ctx.back(ctx.rssm, *before[t], rows[t], own)
                by_deter[t - 1] += owed[0]
                by_stoch[t - 1] += owed[1]
        return *(x.transpose(0, 1) for x in (by_deter, by_stoch, by_posterior)), *(None,) * 7
