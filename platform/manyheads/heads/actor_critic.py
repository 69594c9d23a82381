"""The standard head: reward, continue, actor and critic, trained in imagination as DreamerV3 does."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from manyheads.environment.places import Mask, Places
from manyheads.errors import ManyheadsError
from manyheads.heads.actor import ActionDistribution, Actor, score_loss
from manyheads.heads.contract import Head, HeadBatch, Loss
from manyheads.heads.fast import Taught, teach
from manyheads.heads.imagination import ImaginationNoise, Imagined, draw_noise, frozen, imagine, through
from manyheads.heads.kind import HeadKind
from manyheads.heads.predictors import Continue, TwoHot
from manyheads.heads.returns import Measured, ReturnScale, lambda_return
from manyheads.world.distributions import TwoBins, bernoulli_loss, two_hot_loss

if TYPE_CHECKING:
    from manyheads.world.model import Latent, World


Metrics = dict[str, float | Tensor]


class HeadSettings(BaseModel):
    """DreamerV3's numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    units: int | None = Field(default=None, ge=1, description="width of the layers; None: the world's")
    layers: int = Field(default=3, ge=1, description="of actor and critic; reward and continue have one")
    horizon: int = Field(default=15, ge=1, description="imagined steps")
    discount_horizon: int = Field(default=333, ge=2, description="rows h; the discount is 1 - 1 / h")
    trace: float = Field(default=0.95, ge=0, le=1, description="lambda of the lambda returns")
    policy_gradient: Literal["reinforce", "dynamics"] = Field(
        default="reinforce", description="by score, or back through the imagined dynamics"
    )
    entropy: float = Field(default=3e-4, ge=0, description="what a nat of the policy's entropy is worth")
    slow_rate: float = Field(default=0.02, gt=0, le=1, description="share of the critic its slow copy takes")
    return_rate: float = Field(default=0.01, gt=0, le=1, description="share of new percentiles in the scale")
    replay_value: float = Field(default=0.3, ge=0, description="scale of the critic's loss on real rows")
    gradients_into_world: bool = Field(default=True, description="whether this head trains the world, too")

    @property
    def discount(self) -> float:
        return 1 - 1 / self.discount_horizon


class Dream(NamedTuple):
    """What a rollout teaches, (N, H) each."""

    policy: Tensor
    value: Tensor
    returns: Tensor


class Weighed(NamedTuple):
    """What predictions along a rollout make of its steps, (N, H) each."""

    returns: Tensor
    """attached to the graph of the predictions, if any"""
    scale: Tensor
    """() what returns are divided by"""
    advantage: Tensor
    weight: Tensor
    """how likely the step is reached, discounted; the start's own continue counts too"""


class ActorCritic(Head):
    """One task's reward, continue, actor and critic on the world's latent state."""

    def __init__(self, interface: Places, mask: Mask, world: World, settings: HeadSettings) -> None:
        super().__init__()
        self.settings = settings
        self.through_dynamics = settings.policy_gradient == "dynamics"
        if self.through_dynamics and mask.blocks.any():
            raise ManyheadsError(
                "policy_gradient=dynamics needs continuous actions; discrete ones have no gradient. "
                "Use policy_gradient=reinforce."
            )
        inputs, units = world.settings.feature_size, settings.units or world.settings.units
        self.reward = TwoHot(inputs, units, layers=1)
        self.continues = Continue(inputs, units)
        self.actor = Actor(interface, mask, inputs, units, settings.layers)
        self.critic = TwoHot(inputs, units, settings.layers)
        self.slow_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.return_scale = ReturnScale(settings.return_rate)
        self._metrics: Metrics = {}

    @torch.no_grad()
    def act(self, latent: Latent, generator: torch.Generator | None = None) -> Tensor:
        noise = self.actor.draw_noise(latent.deter.shape[0], generator=generator)
        policy: ActionDistribution = self.actor(latent.feature)
        return policy.sample(noise)

    @property
    def independent(self) -> bool:
        return not self.through_dynamics  # which holds the world's weights still meanwhile

    def draw_noise(self, starts: int, world: World, generator: torch.Generator | None) -> ImaginationNoise:
        """All randomness of one `losses` call with that many imagined starts."""
        return draw_noise(world, self.actor, starts, self.settings.horizon, generator)

    def losses(self, batch: HeadBatch, world: World, generator: torch.Generator | None = None) -> Mapping[str, Loss]:
        """`policy`, `value`, `reward`, `continue`, `replay_value`: means over the rows of this head."""
        batch = batch._replace(reward=batch.reward.masked_fill(~batch.owned, 0))
        if not self.settings.gradients_into_world:
            batch = batch._replace(latents=batch.latents.detach())
        real = batch.to_imagine()
        execution, owned = world.execution, real.owned.flatten()
        noise = self.draw_noise(len(owned), world, generator)
        if execution.compiled and not self.through_dynamics:
            start = real.latents.map(lambda x: x.detach().flatten(0, 1))
            taught = teach(self, world, start, noise, owned)
        else:
            imagined = self.imagine(world, real.latents, noise)
            taught, kept = execution.objective(ActorCritic.learn_imagined)(self, imagined, owned)
            self._metrics, self.return_scale.measured = kept
        boot = taught.returns[:, 0].view_as(real.reward)
        returns = self.real_returns(real.reward, real.terminal, real.last, boot)  # long to compile, as they are quick
        losses = execution.objective(ActorCritic.learn_real)(self, batch, real, returns, execution.dtype)
        self.note(reward_mean=masked_mean(batch.reward, batch.owned))
        return {"policy": taught.policy, "value": taught.value, **losses}

    def learn_imagined(self, imagined: Imagined, owned: Tensor) -> tuple[Taught, tuple[Metrics, Measured | None]]:
        """Means over steps from `owned` (N,) starts; and what this update's metrics and scale of returns are."""
        dream = self.imagined_losses(imagined, *self.predict(imagined.feature), owned)
        mine = owned[:, None].expand_as(dream.policy)
        taught = Taught(masked_mean(dream.policy, mine), masked_mean(dream.value, mine), dream.returns)
        return taught, (self._metrics, self.return_scale.measured)

    def learn_real(self, batch: HeadBatch, real: HeadBatch, returns: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
        """The losses of labelled rows; `returns` (B, T - 1) are those of `real`."""
        reward, continues = self.label_losses(batch.latents.shorten(dtype).feature, batch.reward, batch.terminal)
        replay = self.replay_value_loss(real.latents.shorten(dtype).feature, real.last, returns)
        return {
            "reward": masked_mean(reward, batch.owned),
            "continue": masked_mean(continues, batch.owned),
            "replay_value": self.settings.replay_value * masked_mean(replay, real.owned[:, :-1]),
        }

    def label_losses(self, feature: Tensor, reward: Tensor, terminal: Tensor) -> tuple[Tensor, Tensor]:
        """Reward and continue losses (B, T); the discount is part of what continue predicts."""
        live = (1 - terminal.to(reward.dtype)) * self.settings.discount
        return self.reward.loss(self.reward(feature), reward), bernoulli_loss(self.continues(feature), live)

    def imagine(self, world: World, latents: Latent, noise: ImaginationNoise) -> Imagined:
        """A rollout from each of the states (B, T, ...)."""
        with frozen(world) if self.through_dynamics else torch.no_grad():
            return imagine(world, self.actor, latents.map(lambda x: x.detach().flatten(0, 1)), noise)

    def predict(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Expected reward of arriving in a state, and the discounted probability to go on from it."""
        by_step = feature.transpose(0, 1)
        return self.reward.mean(through(self.reward, by_step)).T, through(self.continues, by_step).sigmoid().T

    def imagined_losses(self, imagined: Imagined, reward: Tensor, continues: Tensor, owned: Tensor) -> Dream:
        """Policy and value losses of a rollout; `reward` and `continues` are (N, H + 1).

        Starts outside `owned` (N,) are left out of the scale of returns.
        """
        h, feature = imagined.action.shape[1], imagined.feature.transpose(0, 1).detach()
        logits = self.critic(feature)
        value = self.critic.mean(logits.detach()).T
        boot = value
        if self.through_dynamics:
            boot = self.critic.mean(through(self.critic, imagined.feature))
        found = self.weigh(reward, continues, value, boot, owned)
        returns = found.returns.detach()
        with torch.no_grad():
            slow_value = self.slow_critic.mean(self.slow_critic(feature[:h]))
        policy, action = self.actor(feature[:h]), imagined.action.transpose(0, 1)
        if self.through_dynamics:
            entropy = policy.entropy()
            policy_loss = -found.returns.T / found.scale - self.settings.entropy * entropy
        else:
            policy_loss, entropy = score_loss(policy, action, found.advantage.T, self.settings.entropy)
        self.note(entropy=entropy.detach().mean())
        value_loss = self.value_loss(logits[:h], *map(self.critic.between, (returns.T, slow_value)))
        return Dream(found.weight * policy_loss.T, found.weight * value_loss.T, returns)

    def weigh(self, reward: Tensor, continues: Tensor, value: Tensor, boot: Tensor, owned: Tensor) -> Weighed:
        """Returns and advantages from predictions (N, H + 1); returns bootstrap from `boot`.

        Takes the returns into the scale, and begins this update's metrics.
        """
        never = torch.zeros_like(reward)
        gained = lambda_return(reward, 1 - continues, never, boot, 1.0, self.settings.trace)
        returns = gained.detach()
        scale = self.return_scale.measure(returns, owned[:, None].expand_as(returns))
        advantage = (returns - value[:, :-1]) / scale
        self._metrics = {
            "advantage": advantage.abs().mean(),
            "imagined_return": returns.mean(),
            "return_scale": scale,
            "imagined_value": value.mean(),
            "imagined_reward": reward[:, 1:].detach().mean(),
            "imagined_continue": continues[:, 1:].detach().mean(),
        }
        return Weighed(gained, scale, advantage, continues.detach().cumprod(1)[:, :-1])

    def value_loss(self, logits: Tensor, returns: TwoBins, slow_value: TwoBins) -> Tensor:
        """Cross-entropy (...) with the returns, and with what the slow critic says."""
        return two_hot_loss(logits, returns, slow_value)

    @torch.no_grad()
    def real_returns(self, reward: Tensor, terminal: Tensor, last: Tensor, boot: Tensor) -> Tensor:
        """Lambda returns (B, T - 1) of real rows (B, T); `boot` (B, T) are the imagined returns that start there."""
        ended, cut = terminal.to(boot.dtype), last.to(boot.dtype)
        return lambda_return(reward, ended, cut, boot, self.settings.discount, self.settings.trace)

    def replay_value_loss(self, feature: Tensor, last: Tensor, returns: Tensor) -> Tensor:
        """(B, T - 1) value losses on real rows with these returns (B, T - 1)."""
        logits = self.critic(feature[:, :-1])
        with torch.no_grad():
            slow_value = self.slow_critic.mean(self.slow_critic(feature[:, :-1]))
        loss = self.value_loss(logits, *map(self.critic.between, (returns, slow_value)))
        return loss * (1 - last[:, :-1].to(loss.dtype))

    def after_update(self) -> None:
        """The slow critic follows, and the scale of returns keeps what it measured."""
        self.return_scale.commit()
        with torch.no_grad():
            slow: list[Tensor] = list(self.slow_critic.parameters())
            torch._foreach_lerp_(slow, [*self.critic.parameters()], self.settings.slow_rate)

    def metrics(self) -> Metrics:
        return self._metrics

    def note(self, **numbers: Tensor) -> None:
        """Adds to `metrics` of this update."""
        self._metrics |= numbers


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """The mean of `x` where `mask`; 0 where it holds nowhere."""
    return (x * mask).sum() / mask.sum().clamp(min=1)


KIND = HeadKind(
    "actor_critic",
    HeadSettings,
    ActorCritic,
    "reward, continue, actor and critic, trained in imagination (DreamerV3)",
)
