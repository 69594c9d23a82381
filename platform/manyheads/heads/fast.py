"""What imagination teaches an actor-critic, fast; `ActorCritic.imagine` and `imagined_losses` are the definition.

The rollout is written step by step into one tensor. One pass over it gives expected values alone; once the returns are
known, a second one gives the losses together with their gradients, so that no distribution over bins is ever kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value

from manyheads.heads.actor import Actor
from manyheads.heads.imagination import ImaginationNoise, fixed, imagined_step
from manyheads.heads.predictors import Continue, TwoHot
from manyheads.world.distributions import TwoBins

if TYPE_CHECKING:
    from manyheads.heads.actor_critic import ActorCritic
    from manyheads.world.model import Latent, World
    from manyheads.world.rssm import RSSM

Gradients = dict[str, Tensor]


class Taught(NamedTuple):
    """Means over starts and steps, and returns (N, H)."""

    policy: Tensor
    value: Tensor
    returns: Tensor


class Aims(NamedTuple):
    """What is to be learned, (H, N) each."""

    returns: TwoBins
    slow_value: TwoBins
    advantage: Tensor
    share: Tensor
    """how much a state counts in the mean"""


def teach(head: ActorCritic, world: World, start: Latent, noise: ImaginationNoise, owned: Tensor) -> Taught:
    """Means over the `owned` (N,) starts and over steps of what `imagined_losses` gives, with their gradients."""
    region, short = world.execution.region, world.execution.short
    with torch.no_grad():
        feature, action = roll_out(world, short(head.actor), start, noise)
        networks = short(head.reward), short(head.continues), short(head.critic), short(head.slow_critic)
        aims, returns = aim(head, region(foresee)(*networks, feature), owned)
        policy, value = region(with_gradients)(head, feature[:-1], action, aims)
    return Taught(
        Known.apply(*policy, *head.actor.parameters()),  # type: ignore[no-untyped-call]
        Known.apply(*value, *head.critic.parameters()),  # type: ignore[no-untyped-call]
        returns,
    )


def roll_out(world: World, actor: Actor, start: Latent, noise: ImaginationNoise) -> tuple[Tensor, Tensor]:
    """Features (H + 1, N, F) and actions (H, N, A)."""
    execution, horizon = world.execution, noise.latent.shape[1]
    rssm, first = execution.short(world.rssm), start.shorten(execution.dtype).feature
    features, actions = first.new_empty(horizon + 1, *first.shape), []
    features[0] = first
    step = execution.region(step_into)
    for h in range(horizon):
        actions.append(step(features[h + 1], rssm, actor, features[h], noise.latent[:, h], noise.action[:, h]))
    return features, torch.stack(actions)


def step_into(
    out: Tensor, rssm: RSSM, actor: Actor, feature: Tensor, latent_noise: Tensor, action_noise: Tensor
) -> Tensor:
    """Writes the feature (N, F) after one step to `out`; gives the action (N, A) that led there."""
    following, action = imagined_step(rssm, actor, feature, latent_noise, action_noise)
    out.copy_(following)
    return action


def foresee(reward: TwoHot, continues: Continue, critic: TwoHot, slow_critic: TwoHot, feature: Tensor) -> Tensor:
    """(4, H + 1, N): expected reward, probability to go on, value, and the slow critic's value."""
    goes_on = continues(feature).sigmoid()
    return torch.stack([reward.expected(feature), goes_on, critic.expected(feature), slow_critic.expected(feature)])


def aim(head: ActorCritic, seen: Tensor, owned: Tensor) -> tuple[Aims, Tensor]:
    """What is to be learned from predictions (4, H + 1, N), and returns (N, H)."""
    reward, continues, value, slow_value = seen
    found = head.weigh(reward.T, continues.T, value.T, value.T, owned)
    share = (found.weight * owned[:, None]).T / (owned.sum().clamp(min=1) * (len(value) - 1))
    returns, slow = head.critic.between(found.returns.T), head.critic.between(slow_value[:-1])
    return Aims(returns, slow, found.advantage.T, share), found.returns


def with_gradients(
    head: ActorCritic, feature: Tensor, action: Tensor, aims: Aims
) -> tuple[tuple[Tensor, Gradients], tuple[Tensor, Gradients]]:
    """Policy and value loss over features (H, N, F) and actions (H, N, A), each with its gradients by the actor's or
    the critic's weights."""

    def policy(parameters: Gradients) -> tuple[Tensor, Tensor]:
        loss, entropy = head.policy_loss(functional_call(head.actor, parameters, (feature,)), action, aims.advantage)
        return (aims.share * loss).sum(), entropy.mean()

    def value(parameters: Gradients) -> Tensor:
        logits = functional_call(head.critic, parameters, (feature,))
        return (aims.share * head.value_loss(logits, aims.returns, aims.slow_value)).sum()

    by_actor, (policy_loss, entropy) = grad_and_value(policy, has_aux=True)(fixed(head.actor))
    by_critic, value_loss = grad_and_value(value)(fixed(head.critic))
    head.note(entropy=entropy)
    return (policy_loss, by_actor), (value_loss, by_critic)


class Known(torch.autograd.Function):
    """A loss whose gradients by some parameters were found together with it."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: Gradients, *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, by_loss: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(by_loss * gradient for gradient in ctx.gradients.values())
