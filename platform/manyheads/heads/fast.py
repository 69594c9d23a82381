"""What imagination teaches an actor-critic, fast; `ActorCritic.imagine` and `imagined_losses` are the definition.

The rollout is written step by step into one tensor. One pass over it gives expected values alone; once the returns are
known, a second one gives the losses together with their gradients, so that no distribution over bins is ever kept. What
the actor and the critic computed on the way is kept as far as the gradients need it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import grad_and_value

from manyheads.heads.actor import Actor, score_loss
from manyheads.heads.contract import Loss
from manyheads.heads.imagination import ImaginationNoise
from manyheads.heads.passes import Gradients, activated, back, forth, linear_back, together
from manyheads.heads.predictors import Continue, TwoHot
from manyheads.world.distributions import TwoBins, two_hot_gradient

if TYPE_CHECKING:
    from manyheads.heads.actor_critic import ActorCritic
    from manyheads.world.model import Latent, World
    from manyheads.world.rssm import RSSM

Products = list[Tensor]
"""of each layer with its weight, (..., U)"""


class Taught(NamedTuple):
    """Means over starts and steps, and returns (N, H)."""

    policy: Loss
    value: Loss
    returns: Tensor


class Rollout(NamedTuple):
    """N starts, H steps."""

    feature: Tensor
    """(H + 1, N, F)"""
    action: Tensor
    """(H, N, A)"""
    products: Products
    """of the actor, (H, N, U)"""


class Aims(NamedTuple):
    """What is to be learned, (H, N) each."""

    returns: TwoBins
    slow_value: TwoBins
    advantage: Tensor
    share: Tensor
    """how much a state counts in the mean"""


def teach(head: ActorCritic, world: World, start: Latent, noise: ImaginationNoise, owned: Tensor) -> Taught:
    """Means over the `owned` (N,) starts and over steps of what `imagined_losses` gives, with their gradients, to be
    found later: nothing else waits for them."""
    region, short = world.execution.region, world.execution.short
    with torch.no_grad():
        actor, critic = short(head.actor), short(head.critic)
        rollout = roll_out(world, actor, start, noise)
        others = short(head.reward), short(head.continues), short(head.slow_critic)
        seen, products = region(foresee)(critic, *others, rollout.feature)
        aims, returns = aim(head, seen, owned)
        kept = [product[:-1] for product in products]

    @torch.no_grad()
    def policy() -> tuple[Tensor, Gradients]:
        loss, gradients, entropy = region(policy_with_gradients)(actor, rollout, aims, head.settings.entropy)
        head.note(entropy=entropy)
        return loss, gradients

    @torch.no_grad()
    def value() -> tuple[Tensor, Gradients]:
        return region(value_with_gradients)(critic, rollout.feature, kept, aims)

    return Taught(partial(known, head.actor, policy), partial(known, head.critic, value), returns)


def roll_out(world: World, actor: Actor, start: Latent, noise: ImaginationNoise) -> Rollout:
    """What `ActorCritic.imagine` gives, and the actor's products."""
    execution, horizon = world.execution, noise.latent.shape[1]
    rssm, first = execution.short(world.rssm), start.shorten(execution.dtype).feature
    feature, actions, products = first.new_empty(horizon + 1, *first.shape), [], []
    feature[0] = first
    step = execution.region(step_into)
    for h in range(horizon):
        action, made = step(feature[h + 1], rssm, actor, feature[h], noise.latent[:, h], noise.action[:, h])
        actions.append(action)
        products.append(made)
    return Rollout(feature, torch.stack(actions), [torch.stack(part) for part in zip(*products, strict=True)])


def step_into(
    out: Tensor, rssm: RSSM, actor: Actor, feature: Tensor, latent_noise: Tensor, action_noise: Tensor
) -> tuple[Tensor, Products]:
    """Writes the feature (N, F) after one step to `out`; gives the action (N, A) that led there, and the actor's
    products."""
    hidden, products = forth(actor.layers, *together([actor.layers], feature))
    raw = {name: output(hidden) for name, output in actor.outputs.items()}
    action = actor.distribution(raw).sample(action_noise)
    out.copy_(rssm.imagine_step(rssm.latent(feature), action, latent_noise).feature)
    return action, products


def foresee(
    critic: TwoHot, reward: TwoHot, continues: Continue, slow_critic: TwoHot, feature: Tensor
) -> tuple[Tensor, Products]:
    """(4, H + 1, N): value, reward, probability to go on, the slow critic's value; and the critic's products."""
    networks = [critic.layers, reward.layers, continues.layers, slow_critic.layers]
    firsts = together(networks, feature)
    (hidden, products), *others = [forth(*pair) for pair in zip(networks, firsts, strict=True)]
    by_reward, by_continues, by_slow = (output for output, _ in others)
    goes_on = continues.out(by_continues).squeeze(-1).sigmoid()
    values = critic.expected(hidden), reward.expected(by_reward), goes_on, slow_critic.expected(by_slow)
    return torch.stack(values), products


def aim(head: ActorCritic, seen: Tensor, owned: Tensor) -> tuple[Aims, Tensor]:
    """What is to be learned from predictions (4, H + 1, N), and returns (N, H)."""
    value, reward, continues, slow_value = seen
    found = head.weigh(reward.T, continues.T, value.T, value.T, owned)
    returns, advantage, weight = (x.T.contiguous() for x in (found.returns, found.advantage, found.weight))
    share = weight * owned / (owned.sum().clamp(min=1) * len(weight))
    aims = Aims(head.critic.between(returns), head.critic.between(slow_value[:-1]), advantage, share)
    return aims, found.returns


def policy_with_gradients(
    actor: Actor, rollout: Rollout, aims: Aims, entropy_worth: float
) -> tuple[Tensor, Gradients, Tensor]:
    """The policy's loss over the rollout, its gradients by the actor's weights, and the policy's mean entropy."""
    products = [product.flatten(0, 1) for product in rollout.products]
    hidden = activated(actor.layers.sequence[-1], products[-1])

    def loss(raw: Gradients) -> tuple[Tensor, Tensor]:
        loss, entropy = score_loss(actor.distribution(raw), rollout.action, aims.advantage, entropy_worth)
        return (aims.share * loss).sum(), entropy.mean()

    raw = {name: output(hidden).view(*aims.share.shape, -1) for name, output in actor.outputs.items()}
    by_raw, (value, entropy) = grad_and_value(loss, has_aux=True)(raw)
    gradients: Gradients = {}
    by_hidden = torch.zeros_like(hidden)
    for name, output in actor.outputs.items():
        own, through = linear_back(output, hidden, by_raw[name].flatten(0, 1))
        gradients |= _within(name, own)
        by_hidden = by_hidden + through
    gradients |= _within("layers", back(actor.layers, rollout.feature[:-1].flatten(0, 1), products, by_hidden))
    return value, _in_order(actor, gradients, aims.share.dtype), entropy


def value_with_gradients(critic: TwoHot, feature: Tensor, products: Products, aims: Aims) -> tuple[Tensor, Gradients]:
    """The critic's loss over the rollout's features (H + 1, N, F), and its gradients by the critic's weights, from the
    critic's products (H, N, U)."""
    products = [product.flatten(0, 1) for product in products]
    hidden = activated(critic.layers.sequence[-1], products[-1])
    logits = critic.logits(hidden).view(*aims.share.shape, -1)
    value, by_logits = two_hot_gradient(logits, aims.share, aims.returns, aims.slow_value)
    own, by_hidden = linear_back(critic.out, hidden, by_logits.flatten(0, 1))
    by_layers = back(critic.layers, feature[:-1].flatten(0, 1), products, by_hidden)
    return value, _in_order(critic, _within("out", own) | _within("layers", by_layers), aims.share.dtype)


def _within(name: str, gradients: Gradients) -> Gradients:
    return {f"{name}.{own}": gradient for own, gradient in gradients.items()}


def _in_order(module: nn.Module, gradients: Gradients, dtype: torch.dtype) -> Gradients:
    """In the order of the module's parameters."""
    return {name: gradients[name].to(dtype) for name, _ in module.named_parameters()}


def known(module: nn.Module, found: Callable[[], tuple[Tensor, Gradients]]) -> Tensor:
    """A loss whose gradients by the module's parameters were `found` together with it."""
    loss: Tensor = Known.apply(*found(), *module.parameters())  # type: ignore[no-untyped-call]
    return loss


class Known(torch.autograd.Function):
    """See `known`."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: Gradients, *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, by_loss: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(by_loss * gradient for gradient in ctx.gradients.values())
