"""The recurrent state-space model: a deterministic state of gated blocks and a stochastic latent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manyheads.execution.eager import Execution
from manyheads.world.grow import LayoutAxis, action_entries
from manyheads.world.latent_distribution import latent_distribution
from manyheads.world.networks import MLP, BlockLinear, Layer, Linear, RMSNorm, by_block
from manyheads.world.sizes import WorldSettings


class Latent(NamedTuple):
    """The world model's state, with any leading axes."""

    deter: Tensor
    """(..., D) float32; along an imagined rollout in the compute dtype"""
    stoch: Tensor
    """(..., G, C) one-hot (gaussian: any number, C = 1); a step's matrix products are computed in its type"""

    @property
    def feature(self) -> Tensor:
        """(..., D + G * C): deter, then stoch group by group."""
        return torch.cat([self.deter.to(self.stoch.dtype), self.stoch.flatten(-2)], -1)

    def to_compute_dtype(self, dtype: torch.dtype) -> Latent:
        """The same state, with the matrix products of what follows in `dtype`."""
        return Latent(self.deter, self.stoch.to(dtype))

    def map(self, function: Callable[[Tensor], Tensor]) -> Latent:
        """The function applied to both parts."""
        return Latent(function(self.deter), function(self.stoch))

    def detach(self) -> Latent:
        """Without gradients."""
        return self.map(torch.Tensor.detach)


class Observed(NamedTuple):
    """What `observe` returns for (B, T) rows."""

    latents: Latent
    posterior: Tensor
    """(B, T, G, P) raw parameters: logits, or mean and standard deviation"""
    prior: Tensor
    """(B, T, G, P) raw parameters at the same recurrent states"""


class Core(nn.Module):
    """One step of the recurrent state, a block-diagonal GRU: each block sees its own part and a common input."""

    def __init__(self, settings: WorldSettings, actions: int) -> None:
        super().__init__()
        deter, hidden, self.blocks = settings.deter, settings.hidden, settings.blocks
        self.from_deter = Layer(deter, hidden)
        self.from_stoch = Layer(settings.groups * settings.classes, hidden)
        self.from_action = Layer(actions, hidden)
        self.block_hidden = BlockLinear(deter + 3 * hidden * self.blocks, deter, self.blocks)
        self.norm = RMSNorm(deter)
        self.block_gates = BlockLinear(deter, 3 * deter, self.blocks)

    def layout_axes(self) -> Mapping[str, LayoutAxis]:
        return {"from_action.linear.weight": LayoutAxis(1, action_entries)}

    def forward(self, previous: Latent, action: Tensor) -> Tensor:
        """(N, D) after `action` (N, A) in state `previous`; components beyond 1 in magnitude count as 1."""
        dtype = previous.stoch.dtype
        deter, stoch = previous.deter.to(dtype), previous.stoch.flatten(-2)
        inputs = [self.from_deter(deter), self.from_stoch(stoch), self.act(action.to(dtype))]
        own = by_block(deter.view(len(deter), self.blocks, -1))
        for_own, for_common = self.hidden_weights(dtype)
        mine, shared = torch.bmm(own, for_own).transpose(0, 1), torch.cat(inputs, -1) @ for_common
        bias = self.block_hidden.bias
        x = self.activate(mine.to(bias.dtype).flatten(-2) + shared.to(bias.dtype) + bias)
        return self.gate(self.block_gates(x.view(len(x), self.blocks, -1).to(dtype)), previous.deter)

    def act(self, action: Tensor) -> Tensor:
        """The action's part of the common input."""
        hidden: Tensor = self.from_action(action / action.abs().clamp(min=1).detach())
        return hidden

    def activate(self, hidden: Tensor) -> Tensor:
        """The input of the gates, from the hidden layer of the blocks (N, D)."""
        return F.silu(self.norm(hidden))

    def gate(self, gates: Tensor, deter: Tensor) -> Tensor:
        """The new state from gates (N, blocks, 3 D / blocks) and the one before (N, D)."""
        reset, candidate, update = gates.chunk(3, -1)
        candidate, own = torch.tanh(reset.sigmoid() * candidate), deter.view(len(deter), self.blocks, -1)
        return (own + torch.sigmoid(update - 1) * (candidate - own)).flatten(-2)

    def hidden_weights(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """`block_hidden` as two maps: block by block (blocks, own, own), and of the common input (M, D).

        As one map, it would need a copy of the common input next to every block's own part.
        """
        weight = self.block_hidden.weight.to(dtype)
        own = weight.shape[2]
        for_own, for_common = weight[:, :own], weight[:, own:]
        return for_own, for_common.transpose(0, 1).flatten(1)


class RSSM(nn.Module):
    """Posterior and prior over the latent, given the recurrent state."""

    def __init__(self, settings: WorldSettings, actions: int, tokens: int) -> None:
        super().__init__()
        self.settings = settings
        self.distribution = latent_distribution(settings)
        deter, hidden = settings.deter, settings.hidden
        logits = settings.groups * self.distribution.num_params
        self.core = Core(settings, actions)
        self.prior_layers = MLP(deter, hidden, layers=2)
        self.prior_logits = Linear(hidden, logits)
        self.posterior_layers = MLP(deter + tokens, hidden, layers=1)
        self.posterior_logits = Linear(hidden, logits)

    def prior(self, deter: Tensor) -> Tensor:
        """The latent before the observation is seen, raw (..., G, P); in memory parameter by parameter."""
        shape, layer, x = (
            (self.settings.groups, self.distribution.num_params),
            self.prior_logits,
            self.prior_layers(deter),
        )
        weight, bias = layer.weight.view(*shape, -1).transpose(0, 1), layer.bias.view(shape).T.flatten()
        output = F.linear(x, weight.flatten(0, 1).to(x.dtype)).to(bias.dtype) + bias
        return output.view(*output.shape[:-1], *shape[::-1]).transpose(-1, -2)

    def posterior(self, deter: Tensor, tokens: Tensor) -> Tensor:
        """The latent after it, raw (..., G, P)."""
        return self.raw(self.posterior_logits(self.posterior_layers(torch.cat([deter, tokens], -1))))

    @property
    def posterior_layer(self) -> Layer:
        """The one layer of the posterior."""
        return self.posterior_layers.sequence[0]

    def observe_step(
        self, previous: Latent, tokens: Tensor, action: Tensor, reset: Tensor, noise: Tensor
    ) -> tuple[Latent, Tensor]:
        """The next posterior state and its raw parameters; where `reset` (N,), previous state and action count as
        zero."""
        keep = 1 - reset.to(tokens.dtype)[:, None]
        previous = Latent(previous.deter * keep, previous.stoch * keep[..., None])
        deter = self.core(previous, action * keep)
        logits = self.posterior(deter.to(tokens.dtype), tokens)
        return Latent(deter, self.distribution.sample(logits, noise).to(previous.stoch.dtype)), logits

    def imagine_step(self, previous: Latent, action: Tensor, noise: Tensor) -> Latent:
        """The next prior state."""
        deter, dtype = self.core(previous, action), previous.stoch.dtype
        prior = self.prior(deter.to(dtype))
        if torch.is_grad_enabled():
            return Latent(deter, self.distribution.sample(prior, noise).to(dtype))
        return Latent(deter, self.distribution.draw(prior, noise, dtype))

    def losses(self, observed: Observed) -> dict[str, Tensor]:
        """`dyn` trains the prior towards the posterior, `rep` the posterior towards the prior: (B, T) each.

        KL is summed over the variables and floored at the free nats row by row.
        """
        dyn, rep = self.distribution.losses(observed.posterior, observed.prior)
        return {"dyn": dyn.clamp(min=self.settings.free_nats), "rep": rep.clamp(min=self.settings.free_nats)}

    def latent(self, feature: Tensor) -> Latent:
        """The state whose feature (..., F) this is, of its type."""
        settings = self.settings
        deter, stoch = feature[..., : settings.deter], feature[..., settings.deter :]
        return Latent(deter, stoch.view(*stoch.shape[:-1], settings.groups, settings.classes))

    def raw(self, output: Tensor) -> Tensor:
        """A network's output as the latent's raw parameters (..., G, P)."""
        return output.view(*output.shape[:-1], self.settings.groups, self.distribution.num_params)


def observe_sequence(
    rssm: RSSM, execution: Execution, start: Latent, tokens: Tensor, action: Tensor, reset: Tensor, noise: Tensor
) -> Observed:
    """Posterior and prior over T rows, from the state `start` before row 0.

    tokens (B, T, E), previous action (B, T, A), reset (B, T): where the state is reset; noise (B, T, G).
    """
    tokens, latent, steps = tokens.to(start.deter.dtype), start, []
    for t in range(tokens.shape[1]):
        latent, raw = rssm.observe_step(latent, tokens[:, t], action[:, t], reset[:, t], noise[:, t])
        steps.append((latent.deter, latent.stoch, raw))
    deter, stoch, posterior = (torch.stack(column, 1) for column in zip(*steps, strict=True))
    return Observed(Latent(deter, stoch), posterior, rssm.prior(deter))
