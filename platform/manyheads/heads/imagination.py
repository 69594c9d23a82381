"""Rolling the world model forward under a policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from manyheads.heads.actor import Actor
from manyheads.world.distributions import symlog

if TYPE_CHECKING:
    from manyheads.world.model import Latent, World
    from manyheads.world.rssm import RSSM


AdvanceMemory = Callable[[Tensor, Tensor], Tensor]
"""from the feature (N, F) of the states reached and a reward source's memory (N, M) before them to the memory after"""


class ImaginationNoise(NamedTuple):
    """All randomness of N trajectories of H steps, drawn up front."""

    latent: Tensor
    """(N, H, G)"""
    action: Tensor
    """(N, H, entries) see `Actor.draw_noise`"""


class ImaginedTrajectory(NamedTuple):
    """N trajectories: state 0 is the start, action h leads from state h to state h + 1. In memory step by step."""

    feature: Tensor
    """(N, H + 1, F)"""
    action: Tensor
    """(N, H, A)"""


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Gradients flow through these modules, but not into them."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def apply_frozen(module: nn.Module, x: Tensor) -> Tensor:
    """`module(x)` with gradients to `x` and none into the module. Unlike `frozen` it can be traced."""
    output: Tensor = functional_call(module, detached_parameters(module), (x,))
    return output


def detached_parameters(module: nn.Module) -> dict[str, Tensor]:
    """The module's parameters by name, without gradients."""
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def draw_noise(
    world: World, actor: Actor, starts: int, horizon: int, generator: torch.Generator | None
) -> ImaginationNoise:
    """Noise for `imagine`."""
    return ImaginationNoise(
        world.draw_noise(starts, horizon, generator=generator),
        actor.draw_noise(starts, horizon, generator=generator),
    )


def imagine(
    world: World,
    actor: Actor,
    start: Latent,
    noise: ImaginationNoise,
    memory: Tensor | None = None,
    advance: AdvanceMemory | None = None,
) -> ImaginedTrajectory:
    """Rolls out from N states (deter (N, D), stoch (N, G, C)) for as many steps as there is noise.

    With `memory` (N, M), of the actor's reward source at the start, features have it as their last entries; `advance`
    gives it after each imagined step.
    """
    feature = start.to_compute_dtype(world.execution.compute_dtype).feature
    features, actions = [with_memory(feature, memory)], []
    step = world.execution.compile(imagine_policy_step)
    for latent_noise, action_noise in zip(noise.latent.unbind(1), noise.action.unbind(1), strict=True):
        seen = () if memory is None else (features[-1],)
        feature, action = step(world.rssm, actor, feature, latent_noise, action_noise, *seen)
        memory = memory if memory is None or advance is None else advance(feature, memory)
        features.append(with_memory(feature, memory))
        actions.append(action)
    return ImaginedTrajectory(torch.stack(features).transpose(0, 1), torch.stack(actions).transpose(0, 1))


def imagine_policy_step(
    rssm: RSSM,
    actor: Actor,
    feature: Tensor,
    latent_noise: Tensor,
    action_noise: Tensor,
    seen: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The feature (N, F) after one step from `feature`, and the action (N, A) that led there.

    The actor sees `seen` (N, F + M) where it sees more than the feature.
    """
    action = actor((feature if seen is None else seen).detach()).sample(action_noise)
    return rssm.imagine_step(rssm.latent(feature), action, latent_noise).feature, action


def with_memory(feature: Tensor, memory: Tensor | None) -> Tensor:
    """A feature (..., F) followed by a reward source's memory (..., M), whose numbers are squashed by symlog."""
    return feature if memory is None else torch.cat([feature, symlog(memory).to(feature.dtype)], -1)
