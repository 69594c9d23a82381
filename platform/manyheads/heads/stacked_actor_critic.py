"""Actor-critics of equal shapes as one batch: `ActorCritic.losses` of all of them in one computation."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.func import vmap

from manyheads.heads.actor_critic import ActorCritic, ImaginedLosses, imagined_losses, masked_mean
from manyheads.heads.contract import Head, HeadBatch
from manyheads.heads.imagination import ImaginationNoise
from manyheads.heads.stack import HeadStack, StackLosses, over_heads

if TYPE_CHECKING:
    from manyheads.world.model import Latent, World

OWN_ROWS: Any = HeadBatch(*cast(Any, [0] * 7))
SHARED_ROWS: Any = OWN_ROWS._replace(latents=None, action=None, is_first=None, is_last=None)
"""which parts of a batch have the heads as first axis, where each head has rows of its own, or all share them"""


class ActorCriticStack(HeadStack):
    """Actor-critics that differ in their tasks, weights and action masks alone.

    Heads whose sources remember rows, and those trained through the dynamics, train by themselves.
    """

    @staticmethod
    def key(head: Head) -> Hashable:
        if not isinstance(head, ActorCritic) or head.through_dynamics or head.needs_signals:
            return None
        shapes = [(name, x.shape, x.device) for name, x in head.state_dict().items()]
        return type(head), head.settings, head.actor.block_sizes, tuple(shapes)

    def losses(
        self, batches: Mapping[str, HeadBatch], world: World, generators: Mapping[str, torch.Generator]
    ) -> StackLosses:
        """As `ActorCritic.losses`, of all heads; sequences, starts and noise are drawn head by head."""
        head, execution = cast(ActorCritic, self.module), world.execution
        batch = self.batch(batches)
        batch = batch._replace(reward=batch.reward.masked_fill(~batch.mask, 0))
        if not head.settings.gradients_into_world:
            batch = batch._replace(latents=batch.latents.detach())
        starts = stacked_starts(batch)
        mask = starts.mask.flatten(1)
        noise = self._noise(mask.shape[1], world, generators)
        states = _start_states(starts, self.room)
        imagined: ImaginedLosses = execution.implementation(stacked_imagined_losses)(head, world, states, noise, mask)
        returns = stacked_replay_returns(head, starts, imagined.returns[..., 0].view_as(starts.reward))
        sums, each = execution.compile_loss(stacked_replay_losses)(
            head, batch, starts, returns, execution.compute_dtype
        )
        reward_mean = vmap(masked_mean)(batch.reward, batch.mask)
        losses = {"policy": imagined.policy, "value": imagined.value, **sums}
        return StackLosses(losses, {**imagined.metrics, **each, "reward_mean": reward_mean}, imagined.new_state)

    def _noise(self, starts: int, world: World, generators: Mapping[str, torch.Generator]) -> ImaginationNoise:
        """Each head's own, from its own generator."""
        own = {
            name: cast(ActorCritic, head).draw_noise(starts, world, generators[name])
            for name, head in self.heads.items()
        }
        empty = ImaginationNoise(*map(torch.zeros_like, next(iter(own.values()))))
        latent = self.side_by_side({name: noise.latent for name, noise in own.items()}, empty.latent)
        return ImaginationNoise(
            latent, self.side_by_side({name: noise.action for name, noise in own.items()}, empty.action)
        )


def stacked_starts(batch: HeadBatch) -> HeadBatch:
    """`HeadBatch.imagination_starts` of K heads: each one's sequences (K, S, T, ...), or the rows that all share."""
    index = batch.start_index
    if index is None:
        return batch
    place = torch.arange(len(index), device=index.device)[:, None]
    return HeadBatch(
        latents=batch.latents.map(lambda x: x[index]),
        action=batch.action[index],
        reward=batch.reward[place, index],
        is_first=batch.is_first[index],
        is_last=batch.is_last[index],
        is_terminal=batch.is_terminal[place, index],
        mask=batch.mask[place, index],
    )


def stacked_imagined_losses(
    head: ActorCritic, world: World, start: Latent, noise: ImaginationNoise, mask: Tensor
) -> ImaginedLosses:
    """`imagined_losses` of K heads, from N states each: all is (K, ...) but the losses, which are sums over the heads;
    each head's own are among the metrics."""

    def one(head: ActorCritic, start: Latent, noise: ImaginationNoise, mask: Tensor) -> ImaginedLosses:
        return imagined_losses(head, world, start, noise, mask)

    found: ImaginedLosses = over_heads(one, (0, 0, 0))(head, start, noise, mask)
    policy, value = cast(Tensor, found.policy), cast(Tensor, found.value)
    own = {"policy": policy.detach(), "value": value.detach()}
    return found._replace(policy=policy.sum(), value=value.sum(), metrics={**found.metrics, **own})


def stacked_replay_returns(head: ActorCritic, rows: HeadBatch, bootstrap: Tensor) -> Tensor:
    """`ActorCritic.replay_returns` of K heads, (K, B, T - 1)."""

    def flat(x: Tensor) -> Tensor:
        return x.expand_as(bootstrap).flatten(0, 1)

    rows = rows._replace(reward=flat(rows.reward), is_terminal=flat(rows.is_terminal), is_last=flat(rows.is_last))
    return head.replay_returns(rows, bootstrap.flatten(0, 1)).view(*bootstrap.shape[:2], -1)


def stacked_replay_losses(
    head: ActorCritic, batch: HeadBatch, starts: HeadBatch, returns: Tensor, dtype: torch.dtype
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """`ActorCritic.replay_losses` of K heads: sums over the heads, and each head's own (K,)."""
    dims = SHARED_ROWS, SHARED_ROWS if starts.is_last.dim() == 2 else OWN_ROWS, 0, None
    batch, starts = batch._replace(start_index=None), starts._replace(start_index=None)
    found = over_heads(ActorCritic.replay_losses, dims)(head, batch, starts, returns, dtype)
    return {name: own.sum() for name, own in found.items()}, {name: own.detach() for name, own in found.items()}


def _start_states(starts: HeadBatch, room: int) -> Latent:
    """(K, N, ...) detached."""
    if starts.is_last.dim() == 2:
        return starts.latents.map(lambda x: x.detach().flatten(0, 1).expand(room, -1, *x.shape[2:]))
    return starts.latents.map(lambda x: x.detach().flatten(1, 2))
