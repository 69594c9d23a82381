"""The standard head: reward, continue, actor and critic, trained in imagination as DreamerV3 does."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from manyheads.errors import ManyheadsError
from manyheads.heads.actor import ActionDistribution, Actor, reinforce_loss
from manyheads.heads.contract import Head, HeadBatch, HeadLosses, Loss, Metrics, State
from manyheads.heads.imagination import (
    ImaginationNoise,
    ImaginedTrajectory,
    apply_frozen,
    draw_noise,
    frozen,
    imagine,
    with_memory,
)
from manyheads.heads.kind import HeadContext, HeadKind
from manyheads.heads.predictors import ContinueHead, TwoHotHead
from manyheads.heads.returns import ReturnScale, lambda_return
from manyheads.world.distributions import TwoBins, bernoulli_loss, two_hot_loss

if TYPE_CHECKING:
    from manyheads.world.model import Latent, World


class ActorCriticSettings(BaseModel):
    """DreamerV3's numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    units: int | None = Field(default=None, ge=1, description="width of the layers; None: the world's")
    layers: int = Field(default=3, ge=1, description="of actor and critic; reward and continue have one")
    horizon: int = Field(default=15, ge=1, description="imagined steps")
    discount_horizon: int = Field(default=333, ge=2, description="rows h; the discount is 1 - 1 / h")
    lam: float = Field(default=0.95, ge=0, le=1, description="lambda of the lambda returns")
    policy_gradient: Literal["reinforce", "dynamics"] = Field(
        default="reinforce", description="by score, or back through the imagined dynamics"
    )
    entropy_coef: float = Field(default=3e-4, ge=0, description="scale of the policy's entropy bonus")
    slow_critic_rate: float = Field(default=0.02, gt=0, le=1, description="share of the critic its slow copy takes")
    return_rate: float = Field(default=0.01, gt=0, le=1, description="share of new percentiles in the return scale")
    replay_value: float = Field(default=0.3, ge=0, description="scale of the critic's loss on replayed rows")
    gradients_into_world: bool = Field(default=True, description="whether this head trains the world, too")

    @property
    def discount(self) -> float:
        return 1 - 1 / self.discount_horizon


class TrajectoryLosses(NamedTuple):
    """Losses of each step of imagined trajectories, (N, H) each, and what they leave behind."""

    policy: Tensor
    value: Tensor
    returns: Tensor
    metrics: dict[str, Tensor]
    new_state: dict[str, Tensor]


class ImaginedLosses(NamedTuple):
    """Mean losses over the steps of imagined trajectories; `returns` are (N, H)."""

    policy: Loss
    value: Loss
    returns: Tensor
    metrics: Metrics
    new_state: Mapping[str, Tensor]


class ImaginedReturns(NamedTuple):
    """What predictions along trajectories say about their steps, (N, H) each."""

    returns: Tensor
    """attached to the graph of the predictions, if any"""
    scale: Tensor
    """() by which returns are divided"""
    advantage: Tensor
    weight: Tensor
    """discounted probability that the step is reached; the start's own continue counts too"""
    metrics: dict[str, Tensor]
    new_state: dict[str, Tensor]


class ActorCritic(Head):
    """One task's reward, continue, actor and critic on the world's latent state."""

    not_compiled = ("task", "ranks")
    """so that heads of equal shapes share their compiled functions"""

    def __init__(self, context: HeadContext) -> None:
        super().__init__()
        settings: ActorCriticSettings = context.settings
        self.settings = settings
        self.through_dynamics = settings.policy_gradient == "dynamics"
        if self.through_dynamics and context.mask.blocks.any():
            raise ManyheadsError(
                "policy_gradient=dynamics needs continuous actions; discrete ones have no gradient. "
                "Use policy_gradient=reinforce."
            )
        self.task = context.task
        inputs = context.world.feature_size + context.task.source.memory_size
        units = settings.units or context.world.units
        self.reward = TwoHotHead(inputs, units, layers=1)
        self.continues = ContinueHead(inputs, units)
        self.actor = Actor(context.interface, context.mask, inputs, units, settings.layers)
        self.critic = TwoHotHead(inputs, units, settings.layers)
        self.slow_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.return_scale = ReturnScale(settings.return_rate)

    @property
    def needs_signals(self) -> bool:
        return self.task.source.memory_size > 0

    def initial_state(self, n: int) -> State:
        """The memory (n, M) of the task's source."""
        device = next(self.parameters()).device
        return self.task.source.init(n).to(device) if self.needs_signals else ()

    @torch.no_grad()
    def act(
        self,
        world: World,
        latent: Latent,
        state: State,
        is_first: Tensor,
        generator: torch.Generator | None = None,
        signals: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        noise = self.actor.draw_noise(latent.deter.shape[0], generator=generator)
        feature = latent.feature
        if self.needs_signals:
            state = (
                self.advance_memory(world, latent.feature, state)
                if signals is None
                else self._remember(signals, state, is_first)
            )
            feature = with_memory(feature, state)
        policy: ActionDistribution = self.actor(feature)
        return policy.mode() if self.greedy else policy.sample(noise), state

    def _remember(self, signals: Tensor, memory: Tensor, is_first: Tensor) -> Tensor:
        """The memory (N, M) after a row with signals (N, S), in the order of the task's."""
        read = {s.name: signals[:, i] for i, s in enumerate(self.task.signals) if s.name in self.task.source.signals}
        after: Tensor = self.task.source.step(read, memory, is_first).memory
        return after

    @torch.no_grad()
    def advance_memory(self, world: World, feature: Tensor, memory: Tensor) -> Tensor:
        """The source's memory (N, M) in imagined states with features (N, F), from the signals read off them."""
        signals = world.readout(world.rssm.latent(feature.float()), self.task.dynamics_key).signals
        never = torch.zeros(len(memory), dtype=torch.bool, device=memory.device)
        after: Tensor = self.task.source.step(signals, memory, never).memory
        return after

    def can_start_from(self, other: Head) -> bool:
        """Whether the other one acts in the same way: equal actors, and the same actions to take."""
        if not isinstance(other, ActorCritic):
            return False
        shapes = [{name: x.shape for name, x in head.actor.state_dict().items()} for head in (self, other)]
        same = shapes[0] == shapes[1] and self.actor.block_sizes == other.actor.block_sizes
        return same and self.actor.own.equal(other.actor.own) and not self.needs_signals

    @torch.no_grad()
    def start_from(self, other: Head) -> None:
        """Takes over the actor and what it expects of episodes' ends; reward and critic start from fresh weights."""
        assert isinstance(other, ActorCritic)
        self.actor.load_state_dict(other.actor.state_dict())
        self.continues.load_state_dict(other.continues.state_dict())

    @property
    def parallel_safe(self) -> bool:
        return not self.through_dynamics  # which freezes the world's weights meanwhile

    def draw_noise(self, starts: int, world: World, generator: torch.Generator | None) -> ImaginationNoise:
        """All randomness of one `losses` call with that many imagined starts."""
        whole = draw_noise(world, self.actor, starts * self.ranks.count, self.settings.horizon, generator)
        return ImaginationNoise(*map(self.ranks.take, whole))

    def losses(self, batch: HeadBatch, world: World, generator: torch.Generator | None = None) -> HeadLosses:
        """`policy`, `value`, `reward`, `continue`, `replay_value`: means over the rows in this head's mask."""
        batch = batch._replace(reward=batch.reward.masked_fill(~batch.mask, 0))
        if not self.settings.gradients_into_world:
            batch = batch._replace(latents=batch.latents.detach())
        starts, execution = batch.imagination_starts(), world.execution
        mask = starts.mask.flatten()
        noise = self.draw_noise(len(mask), world, generator)
        states = starts.latents.map(lambda x: x.detach().flatten(0, 1))
        memory = () if starts.memory is None else (starts.memory.flatten(0, 1),)
        imagined = execution.implementation(imagined_losses)(self, world, states, noise, mask, *memory)
        bootstrap = imagined.returns[:, 0].view_as(starts.reward)
        returns = self.replay_returns(starts, bootstrap)  # outside: it runs quickly but compiles slowly
        losses = execution.compile_loss(ActorCritic.replay_losses)(
            self, batch, starts, returns, execution.compute_dtype
        )
        metrics = {**imagined.metrics, "reward_mean": masked_mean(batch.reward, batch.mask)}
        found = {"policy": imagined.policy, "value": imagined.value, **losses}
        return HeadLosses(found, metrics, imagined.new_state, self._rows(batch, starts))

    def _rows(self, batch: HeadBatch, starts: HeadBatch) -> dict[str, Tensor]:
        """Of how many rows each loss is the mean."""
        if self.ranks.count == 1:
            return {}
        labelled, begun, valued = (mask.sum() for mask in (batch.mask, starts.mask, starts.mask[:, :-1]))
        imagined = {"policy": begun, "value": begun}
        return {**imagined, "reward": labelled, "continue": labelled, "replay_value": valued}

    def replay_losses(
        self, batch: HeadBatch, starts: HeadBatch, returns: Tensor, dtype: torch.dtype
    ) -> dict[str, Tensor]:
        """The losses of labelled rows; `returns` (B, T - 1) are those of `starts`."""
        feature, start_feature = (
            with_memory(rows.latents.to_compute_dtype(dtype).feature, rows.memory) for rows in (batch, starts)
        )
        reward, continues = self.label_losses(feature, batch)
        value = self.replay_value_loss(start_feature, starts.is_last, returns)
        return {
            "reward": masked_mean(reward, batch.mask),
            "continue": masked_mean(continues, batch.mask),
            "replay_value": self.settings.replay_value * masked_mean(value, starts.mask[:, :-1]),
        }

    def label_losses(self, feature: Tensor, batch: HeadBatch) -> tuple[Tensor, Tensor]:
        """Reward and continue losses (B, T); the discount is part of what continue predicts."""
        live = (1 - batch.is_terminal.to(batch.reward.dtype)) * self.settings.discount
        return self.reward.loss(self.reward(feature), batch.reward), bernoulli_loss(self.continues(feature), live)

    def imagine(
        self, world: World, start: Latent, noise: ImaginationNoise, memory: Tensor | None = None
    ) -> ImaginedTrajectory:
        """A trajectory from each of N states, with the memory (N, M) of the task's source there, if it has any."""
        with frozen(world) if self.through_dynamics else torch.no_grad():
            return imagine(world, self.actor, start, noise, memory, partial(self.advance_memory, world))

    def predict(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """The expected reward (N, T) of arriving in a state with feature (N, T, F), and the discounted probability to
        continue from it."""
        by_step = feature.transpose(0, 1)
        return self.reward.mean(apply_frozen(self.reward, by_step)).T, apply_frozen(self.continues, by_step).sigmoid().T

    def trajectory_losses(
        self, imagined: ImaginedTrajectory, reward: Tensor, continues: Tensor, mask: Tensor
    ) -> TrajectoryLosses:
        """Policy and value losses of trajectories; `reward` and `continues` are (N, H + 1).

        Starts outside `mask` (N,) are left out of the scale of returns.
        """
        h, feature = imagined.action.shape[1], imagined.feature.transpose(0, 1).detach()
        logits = self.critic(feature)
        value = self.critic.mean(logits.detach()).T
        bootstrap = value
        if self.through_dynamics:
            bootstrap = self.critic.mean(apply_frozen(self.critic, imagined.feature))
        found = self.imagined_returns(reward, continues, value, bootstrap, mask)
        returns = found.returns.detach()
        with torch.no_grad():
            slow_value = self.slow_critic.mean(self.slow_critic(feature[:h]))
        policy, action = self.actor(feature[:h]), imagined.action.transpose(0, 1)
        if self.through_dynamics:
            entropy = policy.entropy()
            policy_loss = -found.returns.T / found.scale - self.settings.entropy_coef * entropy
        else:
            policy_loss, entropy = reinforce_loss(policy, action, found.advantage.T, self.settings.entropy_coef)
        value_loss = self.value_loss(logits[:h], *map(self.critic.bins_around, (returns.T, slow_value)))
        metrics = {**found.metrics, "entropy": entropy.detach().mean()}
        losses = found.weight * policy_loss.T, found.weight * value_loss.T
        return TrajectoryLosses(*losses, returns, metrics, found.new_state)

    def imagined_returns(
        self, reward: Tensor, continues: Tensor, value: Tensor, bootstrap: Tensor, mask: Tensor
    ) -> ImaginedReturns:
        """Returns, their scale and advantages from predictions (N, H + 1)."""
        never = torch.zeros_like(reward)
        attached = lambda_return(reward, 1 - continues, never, bootstrap, 1.0, self.settings.lam)
        returns = attached.detach()
        valid = mask[:, None].expand_as(returns)
        scale, new_percentiles = self.return_scale(self.ranks.gather(returns), self.ranks.gather(valid))
        advantage = (returns - value[:, :-1]) / scale
        metrics = {
            "advantage": advantage.abs().mean(),
            "imagined_return": returns.mean(),
            "return_scale": scale,
            "imagined_value": value.mean(),
            "imagined_reward": reward[:, 1:].detach().mean(),
            "imagined_continue": continues[:, 1:].detach().mean(),
        }
        new_state = {f"return_scale.{name}": percentile for name, percentile in new_percentiles.items()}
        weight = continues.detach().cumprod(1)[:, :-1]
        return ImaginedReturns(attached, scale, advantage, weight, metrics, new_state)

    def value_loss(self, logits: Tensor, returns: TwoBins, slow_value: TwoBins) -> Tensor:
        """Cross-entropy (...) with the returns, and with the slow critic's value."""
        return two_hot_loss(logits, returns, slow_value)

    @torch.no_grad()
    def replay_returns(self, rows: HeadBatch, bootstrap: Tensor) -> Tensor:
        """Lambda returns (B, T - 1) of replayed rows, without gradients.

        `bootstrap` (B, T) are the returns imagined from each row. Termination ends a return; at a truncation the trace
        is cut and the return bootstraps from that row.
        """
        ended, cut = rows.is_terminal.to(bootstrap.dtype), rows.is_last.to(bootstrap.dtype)
        return lambda_return(rows.reward, ended, cut, bootstrap, self.settings.discount, self.settings.lam)

    def replay_value_loss(self, feature: Tensor, is_last: Tensor, returns: Tensor) -> Tensor:
        """(B, T - 1) value losses on replayed rows with these returns (B, T - 1)."""
        logits = self.critic(feature[:, :-1])
        with torch.no_grad():
            slow_value = self.slow_critic.mean(self.slow_critic(feature[:, :-1]))
        loss = self.value_loss(logits, *map(self.critic.bins_around, (returns, slow_value)))
        return loss * (1 - is_last[:, :-1].to(loss.dtype))

    @torch.no_grad()
    def after_update(self, new_state: Mapping[str, Tensor]) -> None:
        """The return scale keeps its new percentiles, and the slow critic follows the critic."""
        super().after_update(new_state)
        slow: list[Tensor] = list(self.slow_critic.parameters())
        torch._foreach_lerp_(slow, [*self.critic.parameters()], self.settings.slow_critic_rate)


def imagined_losses(
    head: ActorCritic,
    world: World,
    start: Latent,
    noise: ImaginationNoise,
    mask: Tensor,
    memory: Tensor | None = None,
) -> ImaginedLosses:
    """What a head learns from trajectories imagined from N states; those outside `mask` (N,) count for nothing.

    `memory` (N, M) is that of the task's source at the start, if it has any.
    """
    imagined = head.imagine(world, start, noise, memory)
    alone = head.ranks.count == 1  # others' returns can't be waited for in what is compiled
    losses = world.execution.compile_loss(mean_losses) if alone else mean_losses
    return losses(head, imagined, mask)


def mean_losses(head: ActorCritic, imagined: ImaginedTrajectory, mask: Tensor) -> ImaginedLosses:
    """Means over the steps of trajectories in `mask` (N,)."""
    found = head.trajectory_losses(imagined, *head.predict(imagined.feature), mask)
    steps = mask[:, None].expand_as(found.policy)
    means = masked_mean(found.policy, steps), masked_mean(found.value, steps)
    return ImaginedLosses(*means, found.returns, found.metrics, found.new_state)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """The mean of `x` where `mask`; 0 where it holds nowhere."""
    return (x * mask).sum() / mask.sum().clamp(min=1)


KIND = HeadKind(
    "actor_critic",
    ActorCriticSettings,
    ActorCritic,
    "reward, continue, actor and critic, trained in imagination (DreamerV3)",
)
