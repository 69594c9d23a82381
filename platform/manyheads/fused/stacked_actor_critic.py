"""Losses in imagination of several actor-critics at once: the passes of `fused/actor_critic.py` over stacked weights.

The world model takes all heads' states in one product, each head's own layers in one batched product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from manyheads.fused.actor_critic import (
    Products,
    Rollout,
    Targets,
    loss_with_gradients,
    make_targets,
    policy_with_gradients,
    predict,
    value_with_gradients,
)
from manyheads.fused.layers import Gradients, forward, joint_first_layer
from manyheads.heads.actor import Actor
from manyheads.heads.actor_critic import ActorCritic, ImaginedLosses, ImaginedReturns
from manyheads.heads.contract import Metrics
from manyheads.heads.imagination import ImaginationNoise
from manyheads.heads.stack import over_heads

if TYPE_CHECKING:
    from manyheads.world.model import Latent, World
    from manyheads.world.rssm import RSSM

STACKED = 1
"""axes before those of each head's own tensors"""


def stacked_imagined_losses(
    head: ActorCritic, world: World, start: Latent, noise: ImaginationNoise, mask: Tensor
) -> ImaginedLosses:
    """`manyheads.heads.stacked_actor_critic.stacked_imagined_losses`; both losses are deferred."""
    compile, compute_copy = world.execution.compile, world.execution.compute_copy
    with torch.no_grad():
        actor, critic = compute_copy(head.actor, STACKED), compute_copy(head.critic, STACKED)
        rollout = roll_out(world, actor, start, noise)
        others = [compute_copy(part, STACKED) for part in (head.reward, head.continues, head.slow_critic)]
        predictions, products = compile(stacked_predict)(critic, *others, rollout.feature)
        targets, found = stacked_targets(head, predictions, mask)
        products = [product[:, :-1] for product in products]

    @torch.no_grad()
    def policy() -> tuple[Tensor, Gradients, Metrics]:
        coefficient = head.settings.entropy_coef
        loss, gradients, entropy = compile(stacked_policy)(actor, rollout, targets, coefficient)
        return loss.sum(), gradients, {"policy": loss, "entropy": entropy}

    @torch.no_grad()
    def value() -> tuple[Tensor, Gradients, Metrics]:
        loss, gradients = compile(stacked_value)(critic, rollout.feature, products, targets)
        return loss.sum(), gradients, {"value": loss}

    def deferred(
        part: torch.nn.Module, find: Callable[[], tuple[Tensor, Gradients, Metrics]]
    ) -> Callable[[], tuple[Tensor, Metrics]]:
        return lambda: loss_with_gradients(part, find)

    return ImaginedLosses(
        policy=deferred(head.actor, policy),
        value=deferred(head.critic, value),
        returns=found.returns,
        metrics=found.metrics,
        new_state=found.new_state,
    )


def roll_out(world: World, actor: Actor, start: Latent, noise: ImaginationNoise) -> Rollout:
    """As `fused.actor_critic.roll_out`, with the heads as first axis of everything."""
    execution, horizon = world.execution, noise.latent.shape[2]
    rssm, first = execution.compute_copy(world.rssm), start.to_compute_dtype(execution.compute_dtype).feature
    heads, starts, size = first.shape
    feature, actions, products = first.new_empty(heads, horizon + 1, starts, size), [], []
    feature[:, 0] = first
    step = execution.compile(step_into)
    for h in range(horizon):
        given = noise.latent[:, :, h], noise.action[:, :, h]
        action, own = step(feature[:, h + 1], rssm, actor, feature[:, h], *given)
        actions.append(action)
        products.append(own)
    return Rollout(feature, torch.stack(actions, 1), [torch.stack(part, 1) for part in zip(*products, strict=True)])


def step_into(
    out: Tensor, rssm: RSSM, actor: Actor, feature: Tensor, latent_noise: Tensor, action_noise: Tensor
) -> tuple[Tensor, Products]:
    """Writes the features (K, N, F) after one step to `out`; returns the actions (K, N, A) and the actors' products."""
    action, products = over_heads(act, (0, 0))(actor, feature, action_noise)
    states, actions, noise = (x.flatten(0, 1) for x in (feature, action, latent_noise))
    out.copy_(rssm.imagine_step(rssm.latent(states), actions, noise).feature.view(out.shape))
    return action, products


def act(actor: Actor, feature: Tensor, noise: Tensor) -> tuple[Tensor, Products]:
    """The action (N, A) in states with features (N, F), and the actor's products."""
    hidden, products = forward(actor.layers, *joint_first_layer([actor.layers], feature))
    raw = {name: output(hidden) for name, output in actor.outputs.items()}
    return actor.distribution(raw).sample(noise), products


def stacked_targets(head: ActorCritic, predictions: Tensor, mask: Tensor) -> tuple[Targets, ImaginedReturns]:
    """`make_targets` of each head, which reads the return scale alone."""
    make = over_heads(make_targets, (0, 0), only="return_scale")
    found: tuple[Targets, ImaginedReturns] = make(head, predictions, mask)
    return found


stacked_predict = over_heads(predict, (0,))
stacked_policy = over_heads(policy_with_gradients, (0, 0, None))
stacked_value = over_heads(value_with_gradients, (0, 0, 0))
