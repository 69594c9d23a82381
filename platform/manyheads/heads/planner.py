"""A head that learns nothing: it plans each action in the world model under the task's reward on predicted signals.

Model-predictive path integral control with categorical choices (TD-MPC2: Hansen et al. 2024, "Scalable, Robust World
Models for Continuous Control"; Williams et al. 2015), so a new goal is acted on at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from manyheads.environment.contract import REWARD
from manyheads.errors import ManyheadsError
from manyheads.heads.contract import Head, HeadBatch, HeadLosses, State
from manyheads.heads.kind import HeadContext, HeadKind
from manyheads.world.distributions import sample_one_hot

if TYPE_CHECKING:
    from manyheads.world.model import Latent, World


class PlannerSettings(BaseModel):
    """How far and how widely is looked ahead at each step."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    horizon: int = Field(default=12, ge=1, description="imagined steps of a plan")
    samples: int = Field(default=64, ge=2, description="plans tried in each iteration")
    elites: int = Field(default=8, ge=1, description="best ones, from which the next plans are drawn")
    iterations: int = Field(default=3, ge=1, description="times that plans are drawn and scored at each step")
    temperature: float = Field(default=0.5, gt=0, description="of the elites' weights, in deviations of their returns")
    momentum: float = Field(default=0.1, ge=0, lt=1, description="share of the old plan in the new one")
    min_std: float = Field(default=0.05, gt=0, description="least deviation of continuous actions")
    max_std: float = Field(default=1.0, gt=0, description="their deviation at first")
    uniform: float = Field(default=0.05, ge=0, lt=1, description="share of uniform mass in discrete choices")
    discount_horizon: int = Field(default=333, ge=2, description="rows h; the discount is 1 - 1 / h")

    @model_validator(mode="after")
    def _fits(self) -> PlannerSettings:
        if self.elites > self.samples:
            raise ValueError(f"elites={self.elites} are chosen from samples={self.samples}, which are fewer")
        return self


class Planner(Head):
    """Plans with `World.imagine_step` and `World.readout`.

    It remembers the plan's mean, (N, H, A): expected continuous actions, and probabilities of discrete choices; and the
    memory (N, M) of the task's source, if it has any, which imagined signals carry on.
    """

    initial_mean: Tensor
    continuous: Tensor
    blocks: Tensor

    def __init__(self, context: HeadContext) -> None:
        super().__init__()
        self.settings: PlannerSettings = context.settings
        self.task, self.source = context.task, context.task.source
        if self.source.reads != "signals" or REWARD.name in self.source.signals:
            raise ManyheadsError(
                f"The planner computes a task's reward from predicted signals, but that of {context.task.name} is not "
                "a function of them. Name a task with a reward specification: `manyheads goal` writes one."
            )
        self.block_sizes = context.interface.blocks
        continuous = torch.from_numpy(context.mask.continuous).float()
        blocks = torch.from_numpy(context.mask.blocks).float()
        even = [here / size * torch.ones(size) for here, size in zip(blocks, self.block_sizes, strict=True)]
        self.register_buffer("continuous", continuous, persistent=False)
        self.register_buffer("blocks", blocks, persistent=False)
        self.register_buffer("initial_mean", torch.cat([torch.zeros_like(continuous), *even]), persistent=False)

    @property
    def learns(self) -> bool:
        return False

    @property
    def needs_signals(self) -> bool:
        return self.source.memory_size > 0

    def initial_state(self, n: int) -> State:
        memory = self.source.init(n).to(self.initial_mean.device) if self.needs_signals else ()
        return self._initial_plan(n), memory

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
        """The mean of the last plans' continuous actions, and the choices of one of the elites, drawn by its weight."""
        s, n = self.settings, len(latent.deter)
        mean, memory = state
        mean = torch.where(is_first[:, None, None], self._initial_plan(n), mean)
        if self.needs_signals and signals is not None:
            measured = {signal.name: signals[:, i] for i, signal in enumerate(self.task.signals)}
            memory = self.source.step(self._read(measured), memory, is_first).memory
        std = self.continuous * s.max_std * torch.ones_like(mean[..., : len(self.continuous)])
        for _ in range(s.iterations):
            plans = self._draw(mean, std, generator)
            returns = self._returns(world, latent, memory, plans, generator)
            best, index = returns.topk(s.elites, dim=1)
            elites = plans.gather(1, index[..., None, None].expand(-1, -1, *plans.shape[2:]))
            spread = best.std(1, correction=0, keepdim=True).clamp(min=1e-6)
            weights = (best / (s.temperature * spread)).softmax(1)
            new_mean, std = self._fit(elites, weights)
            mean = s.momentum * mean + (1 - s.momentum) * new_mean
        chosen = sample_one_hot(weights, torch.rand(n, generator=generator, device=weights.device))
        choices = (chosen[..., None] * elites[:, :, 0, len(self.continuous) :]).sum(1)
        action = torch.cat([mean[:, 0, : len(self.continuous)], choices], -1)
        return action, (torch.cat([mean[:, 1:], self.initial_mean.expand(n, 1, -1)], 1), memory)

    def losses(self, batch: HeadBatch, world: World, generator: torch.Generator | None = None) -> HeadLosses:
        """None: there is nothing to learn."""
        return HeadLosses({})

    @property
    def parallel_safe(self) -> bool:
        return True

    def _initial_plan(self, n: int) -> Tensor:
        return self.initial_mean.repeat(n, self.settings.horizon, 1)

    def _read(self, signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those signals that the task's source reads."""
        return {name: signals[name] for name in self.source.signals}

    def _draw(self, mean: Tensor, std: Tensor, generator: torch.Generator | None) -> Tensor:
        """Plans (N, K, H, A); the first one has the mean's own continuous actions."""
        (n, h, _), k, device = mean.shape, self.settings.samples, mean.device
        center, *probs = torch.split(mean[:, None], [len(self.continuous), *self.block_sizes], -1)
        noise = torch.randn(n, k, h, len(self.continuous), generator=generator, device=device)
        noise[:, 0] = 0
        parts = [(center + std[:, None] * noise).clamp(-1, 1) * self.continuous]
        for here, own in zip(self.blocks, probs, strict=True):
            mixed = (1 - self.settings.uniform) * own + self.settings.uniform / own.shape[-1]
            uniform = torch.rand(n, k, h, generator=generator, device=device)
            parts.append(sample_one_hot(mixed.expand(-1, k, -1, -1), uniform) * here)
        return torch.cat(parts, -1)

    def _returns(
        self, world: World, latent: Latent, memory: State, plans: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """The discounted return (N, K) of each plan, imagined under noise that all plans of one environment share: the
        best plan then is not the luckiest one."""
        n, k, h, _ = plans.shape
        noise = world.draw_noise(n, h, generator=generator).repeat_interleave(k, 0)
        state = latent.map(lambda x: x.repeat_interleave(k, 0)).to_compute_dtype(world.execution.compute_dtype)
        actions, states = plans.flatten(0, 1), []
        step = world.execution.compile(type(world).imagine_step)
        for t in range(h):
            state = step(world, state, actions[:, t], noise[:, t])
            states.append(state)
        imagined = type(state)(*(torch.stack(part) for part in zip(*states, strict=True)))
        signals, continues = world.readout(imagined, self.task.dynamics_key)
        never = torch.zeros(h, n * k, dtype=torch.bool, device=plans.device)
        before = memory.repeat_interleave(k, 0) if self.needs_signals else None
        reward, terminated, _ = self.source.unroll(self._read(signals), never, before)
        alive = continues * (1 - terminated.float()) * (1 - 1 / self.settings.discount_horizon)
        reached = torch.cat([torch.ones_like(alive[:1]), alive[:-1]]).cumprod(0)
        returns: Tensor = (reached * reward).sum(0).view(n, k)
        return returns

    def _fit(self, elites: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (N, H, A) and deviation of the continuous actions (N, H, C) of weighted plans (N, E, H, A).

        The mean of one-hot choices is the distribution of largest likelihood.
        """
        w = weights[..., None, None]
        mean, count = (w * elites).sum(1), len(self.continuous)
        variance = (w * (elites - mean[:, None]).square()).sum(1)[..., :count]
        return mean, variance.sqrt().clamp(self.settings.min_std, self.settings.max_std) * self.continuous


KIND = HeadKind(
    "planner",
    PlannerSettings,
    Planner,
    "plans each action in the world model under the task's reward; nothing to train (MPPI, as in TD-MPC2)",
)
