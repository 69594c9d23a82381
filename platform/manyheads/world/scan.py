"""The recurrent model over many rows, fast: only what must wait for the row before is done row by row.

First the states are found without a graph: the parts of a step that need no state are computed for all rows, the rest
by one compiled step a row. Given its previous state each row then stands alone, so that one pass of `RSSM.observe_step`
over all rows at once ties the states to weights and tokens. What rows owe to later rows is added by `Link`: its
backward pass goes back over the rows through the step's derivative by the previous state, without any weight's.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.func import vjp

from manyheads.world.execution import Execution
from manyheads.world.rssm import RSSM, Latent, Observed

Item = TypeVar("Item")
State = tuple[Tensor, Tensor]
"""deter, stoch"""
ROWS = 4
"""in a call, at most"""


class Row(NamedTuple):
    """What a step needs beside the state."""

    hidden: Tensor
    """(N, D) what the action gives to the blocks' hidden part"""
    posterior: Tensor
    """(N, hidden) what the tokens give to the posterior"""
    keep: Tensor
    """(N, 1) 0 where the row is a first one"""
    noise: Tensor
    """(N, G)"""


class Outputs(NamedTuple):
    """What a step's linear maps gave, for the way back."""

    from_deter: Tensor
    from_stoch: Tensor
    hidden: Tensor
    gates: Tensor
    posterior: Tensor
    raw: Tensor


def observe(
    rssm: RSSM, execution: Execution, start: Latent, tokens: Tensor, action: Tensor, first: Tensor, noise: Tensor
) -> Observed:
    """What `RSSM.observe` gives, with its gradients."""
    with torch.no_grad():
        by_row, weights = prepare(rssm, tokens, action, first, noise)
        rows = [Row(*row) for row in zip(*(part.unbind() for part in by_row), strict=True)]
        forth = execution.region(steps)
        states, outputs = [(start.deter, start.stoch)], []
        for group in groups(rows):
            for state, output in forth(rssm, weights, states[-1], group):
                states.append(state)
                outputs.append(output)
        deter, stoch = (torch.stack(part, 1) for part in zip(*states, strict=True))
        posterior = torch.stack([output.raw for output in outputs], 1)
    before, (deter, stoch) = (deter[:, :-1], stoch[:, :-1]), (deter[:, 1:], stoch[:, 1:])
    if torch.is_grad_enabled():
        graph = execution.region(all_rows)(rssm, execution.dtype, before, tokens, action, first, noise)
        back = _Back(execution.region(steps_back), rssm, weights, states, rows, outputs)
        deter, stoch, posterior = Link.apply(*graph, deter, stoch, posterior, back)  # type: ignore[no-untyped-call]
    return Observed(Latent(deter, stoch), posterior, rssm.prior(execution.shorten(deter)))


def prepare(
    rssm: RSSM, tokens: Tensor, action: Tensor, first: Tensor, noise: Tensor
) -> tuple[Row, tuple[Tensor, Tensor]]:
    """All rows at once, (T, B, ...): what they need beside the state; and the two maps of the hidden part."""
    core, dtype = rssm.core, rssm.posterior_logits.weight.dtype
    keep = 1 - first.to(dtype)[..., None]
    for_own, for_common = core.hidden_weights(dtype)
    acted = core.act(action * keep)
    hidden = acted @ for_common[-acted.shape[-1] :] + core.block_hidden.bias
    layer = rssm.posterior_layer.linear
    posterior = tokens.to(dtype) @ layer.weight[:, -tokens.shape[-1] :].T + layer.bias
    row = Row(*(part.transpose(0, 1).contiguous() for part in (hidden, posterior, keep, noise)))
    return row, (for_own, for_common[: -acted.shape[-1]].contiguous())


def groups(rows: list[Item]) -> list[list[Item]]:
    """Rows as equal groups that one call goes through."""
    size = max(k for k in range(1, ROWS + 1) if len(rows) % k == 0)
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def steps(rssm: RSSM, weights: tuple[Tensor, Tensor], state: State, rows: list[Row]) -> list[tuple[State, Outputs]]:
    """Some rows, one after the other."""
    made = []
    for row in rows:
        state, outputs = step(rssm, weights, state, row)
        made.append((state, outputs))
    return made


def step(rssm: RSSM, weights: tuple[Tensor, Tensor], state: State, row: Row) -> tuple[State, Outputs]:
    """`RSSM.observe_step`, given what was prepared."""
    core, layer, (for_own, for_common) = rssm.core, rssm.posterior_layer, weights
    deter, stoch = state[0] * row.keep, (state[1] * row.keep[..., None]).flatten(-2)
    from_deter, from_stoch = core.from_deter.linear(deter), core.from_stoch.linear(stoch)
    common = torch.cat([core.from_deter.activate(from_deter), core.from_stoch.activate(from_stoch)], -1)
    own = torch.bmm(_blocks(deter, for_own), for_own).transpose(0, 1).flatten(-2)
    hidden = own + common @ for_common + row.hidden
    gates = core.block_gates(core.activate(hidden).view(len(deter), len(for_own), -1))
    new = core.gate(gates, deter)
    posterior = new @ layer.linear.weight[:, : deter.shape[-1]].T + row.posterior
    raw = rssm.raw(rssm.posterior_logits(layer.activate(posterior)))
    return (new, rssm.kind.sample(raw, row.noise)), Outputs(from_deter, from_stoch, hidden, gates, posterior, raw)


def step_back(
    rssm: RSSM,
    weights: tuple[Tensor, Tensor],
    state: State,
    row: Row,
    outputs: Outputs,
    gradient: tuple[Tensor, Tensor, Tensor],
    owed: State,
) -> tuple[State, State]:
    """Of a row, from the gradients by its deter, stoch and raw posterior, and from what later rows add to them:
    the whole gradient by its state, and the one by the `state` before it."""
    core, layer, (for_own, for_common) = rssm.core, rssm.posterior_layer, weights
    by_new, by_sample = gradient[0] + owed[0], gradient[1] + owed[1]
    deter = state[0] * row.keep
    (by_raw,) = vjp(lambda raw: rssm.kind.sample(raw, row.noise), outputs.raw)[1](by_sample)
    by_active = (by_raw + gradient[2]).flatten(-2) @ rssm.posterior_logits.weight
    (by_posterior,) = vjp(layer.activate, outputs.posterior)[1](by_active)
    by_posterior = by_posterior @ layer.linear.weight[:, : deter.shape[-1]]
    by_gates, by_deter = vjp(core.gate, outputs.gates, deter)[1](by_new + by_posterior)
    by_active = torch.bmm(by_gates.transpose(0, 1), core.block_gates.weight.mT).transpose(0, 1).flatten(-2)
    (by_hidden,) = vjp(core.activate, outputs.hidden)[1](by_active)
    by_own = torch.bmm(_blocks(by_hidden, for_own), for_own.mT).transpose(0, 1).flatten(-2)
    by_common = (by_hidden @ for_common.T).chunk(2, -1)
    (by_from_deter,) = vjp(core.from_deter.activate, outputs.from_deter)[1](by_common[0])
    (by_from_stoch,) = vjp(core.from_stoch.activate, outputs.from_stoch)[1](by_common[1])
    by_deter = by_deter + by_own + by_from_deter @ core.from_deter.linear.weight
    by_stoch = (by_from_stoch @ core.from_stoch.linear.weight).view_as(state[1])
    return (by_new, by_sample), (by_deter * row.keep, by_stoch * row.keep[..., None])


def steps_back(
    rssm: RSSM,
    weights: tuple[Tensor, Tensor],
    rows: list[tuple[State, Row, Outputs, tuple[Tensor, Tensor, Tensor]]],
    owed: State,
) -> tuple[list[State], State]:
    """Some rows, from the last to the first: the whole gradients by their states, and what the row before is owed."""
    whole = []
    for row in reversed(rows):
        own, owed = step_back(rssm, weights, *row, owed)
        whole.append(own)
    return whole, owed


def all_rows(
    rssm: RSSM, dtype: torch.dtype, before: State, tokens: Tensor, action: Tensor, first: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Deter, stoch and raw posterior of all (B, T) rows at once, from the states before them."""
    flat = (x.flatten(0, 1) for x in (tokens.to(dtype), action, first, noise))
    previous = Latent(before[0].flatten(0, 1), before[1].to(dtype).flatten(0, 1))
    latent, raw = rssm.observe_step(previous, *flat)
    deter, stoch, raw = (x.view(*first.shape, *x.shape[1:]) for x in (*latent, raw))
    return deter, stoch, raw


class _Back(NamedTuple):
    """The way back over the rows."""

    steps: Any
    rssm: RSSM
    weights: tuple[Tensor, Tensor]
    states: list[State]
    rows: list[Row]
    outputs: list[Outputs]

    def __call__(self, gradients: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The whole gradients by deter and stoch of (B, T) rows."""
        by_row = [*zip(*(x.transpose(0, 1).contiguous().unbind() for x in gradients), strict=True)]
        owed = (torch.zeros_like(by_row[0][0]), torch.zeros_like(by_row[0][1]))
        whole = []
        for group in reversed(groups([*zip(self.states, self.rows, self.outputs, by_row, strict=False)])):
            own, owed = self.steps(self.rssm, self.weights, group, owed)
            whole += own
        by_deter, by_stoch = (torch.stack(part[::-1], 1) for part in zip(*whole, strict=True))
        return by_deter, by_stoch


class Link(torch.autograd.Function):
    """Gives the states that were found; backwards, adds to the gradient by each what later rows owe to it."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, ...]:
        _, _, _, deter, stoch, posterior, ctx.back = inputs
        return deter.clone(), stoch.clone(), posterior.clone()

    @staticmethod
    @torch.no_grad()
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return *ctx.back(gradients), gradients[2], None, None, None, None


def _blocks(x: Tensor, weight: Tensor) -> Tensor:
    """(N, D) as (blocks, N, own)."""
    return x.view(len(x), len(weight), -1).transpose(0, 1)
