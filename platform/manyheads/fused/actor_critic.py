"""An actor-critic's losses in imagination, in three passes without an autograd graph.

The rollout is written step by step into one tensor. One pass over it gives expected values alone; once the returns are
known, another gives the losses together with their gradients, so that no distribution over bins is ever stored. The
layer products that actor and critic computed on the way are kept where the gradients need them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import grad_and_value

from manyheads.fused.layers import Gradients, activate, backward, forward, joint_first_layer, linear_backward
from manyheads.heads import actor_critic as plain
from manyheads.heads.actor import Actor, reinforce_loss
from manyheads.heads.actor_critic import ActorCritic, ImaginedLosses
from manyheads.heads.contract import Metrics
from manyheads.heads.imagination import ImaginationNoise
from manyheads.heads.predictors import ContinueHead, TwoHotHead
from manyheads.world.distributions import TwoBins, two_hot_gradient

if TYPE_CHECKING:
    from manyheads.world.model import Latent, World
    from manyheads.world.rssm import RSSM

Products = list[Tensor]
"""of each layer with its weight, (..., U)"""


class Rollout(NamedTuple):
    """N starts, H steps."""

    feature: Tensor
    """(H + 1, N, F)"""
    action: Tensor
    """(H, N, A)"""
    products: Products
    """of the actor, (H, N, U)"""


class Targets(NamedTuple):
    """What actor and critic learn, (H, N) each."""

    returns: TwoBins
    slow_value: TwoBins
    advantage: Tensor
    weight: Tensor
    """of a step in the mean"""


def imagined_losses(
    head: ActorCritic,
    world: World,
    start: Latent,
    noise: ImaginationNoise,
    mask: Tensor,
    memory: Tensor | None = None,
) -> ImaginedLosses:
    """`manyheads.heads.actor_critic.imagined_losses`; both losses are deferred, for nothing else waits for them."""
    if head.through_dynamics or memory is not None:
        return plain.imagined_losses(head, world, start, noise, mask, memory)
    compile, compute_copy = world.execution.compile, world.execution.compute_copy
    with torch.no_grad():
        actor, critic = compute_copy(head.actor), compute_copy(head.critic)
        rollout = roll_out(world, actor, start, noise)
        others = compute_copy(head.reward), compute_copy(head.continues), compute_copy(head.slow_critic)
        predictions, products = compile(predict)(critic, *others, rollout.feature)
        targets, found = make_targets(head, predictions, mask)
        products = [product[:-1] for product in products]

    @torch.no_grad()
    def policy() -> tuple[Tensor, Gradients, Metrics]:
        entropy_coef = head.settings.entropy_coef
        loss, gradients, entropy = compile(policy_with_gradients)(actor, rollout, targets, entropy_coef)
        return loss, gradients, {"entropy": entropy}

    @torch.no_grad()
    def value() -> tuple[Tensor, Gradients, Metrics]:
        return *compile(value_with_gradients)(critic, rollout.feature, products, targets), {}

    return ImaginedLosses(
        policy=partial(loss_with_gradients, head.actor, policy),
        value=partial(loss_with_gradients, head.critic, value),
        returns=found.returns,
        metrics=found.metrics,
        new_state=found.new_state,
    )


def roll_out(world: World, actor: Actor, start: Latent, noise: ImaginationNoise) -> Rollout:
    """`manyheads.heads.imagination.imagine`, with the products of the actor."""
    execution, horizon = world.execution, noise.latent.shape[1]
    rssm, first = execution.compute_copy(world.rssm), start.to_compute_dtype(execution.compute_dtype).feature
    feature, actions, products = first.new_empty(horizon + 1, *first.shape), [], []
    feature[0] = first
    step = execution.compile(step_into)
    for h in range(horizon):
        action, own = step(feature[h + 1], rssm, actor, feature[h], noise.latent[:, h], noise.action[:, h])
        actions.append(action)
        products.append(own)
    return Rollout(feature, torch.stack(actions), [torch.stack(part) for part in zip(*products, strict=True)])


def step_into(
    out: Tensor, rssm: RSSM, actor: Actor, feature: Tensor, latent_noise: Tensor, action_noise: Tensor
) -> tuple[Tensor, Products]:
    """Writes the feature (N, F) after one step to `out`; returns the action (N, A) that led there, and the actor's
    products."""
    hidden, products = forward(actor.layers, *joint_first_layer([actor.layers], feature))
    raw = {name: output(hidden) for name, output in actor.outputs.items()}
    action = actor.distribution(raw).sample(action_noise)
    out.copy_(rssm.imagine_step(rssm.latent(feature), action, latent_noise).feature)
    return action, products


def predict(
    critic: TwoHotHead, reward: TwoHotHead, continues: ContinueHead, slow_critic: TwoHotHead, feature: Tensor
) -> tuple[Tensor, Products]:
    """(4, H + 1, N): value, reward, probability to continue, the slow critic's value; and the critic's products."""
    networks = [critic.layers, reward.layers, continues.layers, slow_critic.layers]
    firsts = joint_first_layer(networks, feature)
    (hidden, products), *others = [forward(*pair) for pair in zip(networks, firsts, strict=True)]
    by_reward, by_continues, by_slow = (output for output, _ in others)
    probability = continues.out(by_continues).squeeze(-1).sigmoid()
    values = critic.expected(hidden), reward.expected(by_reward), probability, slow_critic.expected(by_slow)
    return torch.stack(values), products


def make_targets(head: ActorCritic, predictions: Tensor, mask: Tensor) -> tuple[Targets, plain.ImaginedReturns]:
    """What is to be learned from predictions (4, H + 1, N)."""
    value, reward, continues, slow_value = predictions
    found = head.imagined_returns(reward.T, continues.T, value.T, value.T, mask)
    returns, advantage, weight = (x.T.contiguous() for x in (found.returns, found.advantage, found.weight))
    weight = weight * mask / (mask.sum().clamp(min=1) * len(weight))
    bins = head.critic.bins_around(returns), head.critic.bins_around(slow_value[:-1])
    return Targets(*bins, advantage, weight), found


def policy_with_gradients(
    actor: Actor, rollout: Rollout, targets: Targets, entropy_coef: float
) -> tuple[Tensor, Gradients, Tensor]:
    """The policy's loss over the rollout, its gradients with respect to the actor's weights, and the policy's mean
    entropy."""
    products = [product.flatten(0, 1) for product in rollout.products]
    hidden = activate(actor.layers.sequence[-1], products[-1])

    def loss(raw: Gradients) -> tuple[Tensor, Tensor]:
        loss, entropy = reinforce_loss(actor.distribution(raw), rollout.action, targets.advantage, entropy_coef)
        return (targets.weight * loss).sum(), entropy.mean()

    raw = {name: output(hidden).view(*targets.weight.shape, -1) for name, output in actor.outputs.items()}
    by_raw, (value, entropy) = grad_and_value(loss, has_aux=True)(raw)
    gradients: Gradients = {}
    by_hidden = torch.zeros_like(hidden)
    for name, output in actor.outputs.items():
        own, by_inputs = linear_backward(output, hidden, by_raw[name].flatten(0, 1))
        gradients |= _prefixed(name, own)
        by_hidden = by_hidden + by_inputs
    gradients |= _prefixed("layers", backward(actor.layers, rollout.feature[:-1].flatten(0, 1), products, by_hidden))
    return value, _in_order(actor, gradients, targets.weight.dtype), entropy


def value_with_gradients(
    critic: TwoHotHead, feature: Tensor, products: Products, targets: Targets
) -> tuple[Tensor, Gradients]:
    """The critic's loss over the rollout's features (H + 1, N, F) and its gradients with respect to the critic's
    weights, from the critic's products (H, N, U)."""
    products = [product.flatten(0, 1) for product in products]
    hidden = activate(critic.layers.sequence[-1], products[-1])
    logits = critic.logits(hidden).view(*targets.weight.shape, -1)
    value, by_logits = two_hot_gradient(logits, targets.weight, targets.returns, targets.slow_value)
    own, by_hidden = linear_backward(critic.out, hidden, by_logits.flatten(0, 1))
    by_layers = backward(critic.layers, feature[:-1].flatten(0, 1), products, by_hidden)
    return value, _in_order(critic, _prefixed("out", own) | _prefixed("layers", by_layers), targets.weight.dtype)


def loss_with_gradients(
    module: nn.Module, find: Callable[[], tuple[Tensor, Gradients, Metrics]]
) -> tuple[Tensor, Metrics]:
    """A loss whose gradients with respect to the module's parameters are found together with it, and its metrics."""
    loss, gradients, metrics = find()
    attached: Tensor = _LossWithGradients.apply(loss, gradients, *module.parameters())  # type: ignore[no-untyped-call]
    return attached, metrics


class _LossWithGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: Gradients, *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, by_loss: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(by_loss * gradient for gradient in ctx.gradients.values())


def _prefixed(name: str, gradients: Gradients) -> Gradients:
    return {f"{name}.{own}": gradient for own, gradient in gradients.items()}


def _in_order(module: nn.Module, gradients: Gradients, dtype: torch.dtype) -> Gradients:
    """In the order of the module's parameters."""
    return {name: gradients[name].to(dtype) for name, _ in module.named_parameters()}
