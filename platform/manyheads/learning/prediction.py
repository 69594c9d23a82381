"""The return that a head is expected to earn: imagined episodes, rewarded by an ensemble that says how sure it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from manyheads.environment.contract import REWARD
from manyheads.execution.eager import Execution
from manyheads.heads.imagination import with_memory
from manyheads.learning.optimizer import LaProp
from manyheads.settings import OptimizerSettings
from manyheads.storage.evaluations import Interval
from manyheads.world.distributions import bernoulli_loss
from manyheads.world.networks import MLP, Linear
from manyheads.world.running_norm import RunningNorm

if TYPE_CHECKING:
    from manyheads.heads.contract import Head, HeadBatch
    from manyheads.rewards.contract import RewardSource
    from manyheads.task import Task
    from manyheads.world.model import Latent, World

MEMBERS = 5
FIT_UPDATES = 400
EAGER = Execution()
FIT = OptimizerSettings(lr=3e-3, warmup=50)


class RewardEnsemble(nn.Module):
    """Predictors of a task's reward and of its end, from a state's feature and what the task's source remembers.

    Each learns from its own random share of the sequences, so that they agree where there is experience, and differ
    where each has to guess. Rewards are regressed in standard deviations: a few hundred updates must do.
    """

    def __init__(self, inputs: int, units: int, members: int = MEMBERS) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            nn.Sequential(MLP(inputs, units, layers=2), Linear(units, 2)) for _ in range(members)
        )
        self.norm = RunningNorm(1)

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Reward of arriving in states (N, F) and probability to resume from there, (members, N) each."""
        reward, live = torch.stack([member(feature) for member in self.members]).unbind(-1)
        return self.norm.denormalize(reward[..., None]).squeeze(-1), live.sigmoid()

    def loss(self, rows: HeadBatch, generator: torch.Generator) -> Tensor:
        """() of labelled rows; each member takes each sequence with a Poisson weight, as a bootstrap would."""
        feature = with_memory(rows.latents.feature, rows.memory)
        reward, live = rows.reward[..., None], 1 - rows.is_terminal.float()
        self.norm.update(reward.view(-1, 1, 1), rows.mask.view(-1, 1).float())  # row by row
        target = self.norm.normalize(reward).squeeze(-1)
        losses = []
        for member in self.members:
            own = torch.poisson(torch.ones(len(feature), 1, device=feature.device), generator) * rows.mask
            predicted, continues = member(feature).unbind(-1)
            each = (predicted - target).square() + bernoulli_loss(continues, live)
            losses.append((each * own).sum() / own.sum().clamp(min=1))
        return torch.stack(losses).sum()


class ReturnPredictor:
    """Predicts returns under one task's reward, on a world that stays as it is."""

    def __init__(self, world: World, task: Task, seed: int) -> None:
        self.world, self.task = world, task
        self.source: RewardSource = task.reward
        self.generator = torch.Generator(world.device).manual_seed(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            inputs = world.settings.feature_size + self.source.memory_size
            self.ensemble = RewardEnsemble(inputs, world.settings.units).to(world.device)

    def fit(self, draw: Callable[[], HeadBatch], updates: int = FIT_UPDATES) -> ReturnPredictor:
        """Learns the reward from labelled rows with their stored states."""
        optimizer = LaProp(dict(self.ensemble.named_parameters()), FIT)
        for _ in range(updates):
            torch.autograd.backward(self.ensemble.loss(draw(), self.generator))
            optimizer.step(optimizer.gradient_norms(), EAGER)
        return self

    @torch.no_grad()
    def returns(self, head: Head, start: Latent, steps: int) -> Tensor:
        """Undiscounted returns (members, N) of episodes that the head plays in imagination from N states."""
        world, n = self.world, len(start.deter)
        latent, state = start, head.initial_state(n)
        is_first = torch.ones(n, dtype=torch.bool, device=world.device)
        memory = self.source.init(n).to(world.device) if self.source.memory_size else None
        total, alive = torch.zeros(MEMBERS, n, device=world.device), torch.ones(MEMBERS, n, device=world.device)
        for _ in range(steps):
            action, state = head.act(world, latent, state, is_first, self.generator)
            latent = world.imagine_step(latent, action, world.draw_noise(n, generator=self.generator))
            is_first = torch.zeros_like(is_first)
            memory = memory if memory is None else self._advance(latent, memory)
            reward, continues = self.ensemble(with_memory(latent.feature.float(), memory))
            total, alive = total + alive * reward, alive * continues
        return total

    def predict(self, head: Head, start: Latent, steps: int) -> Interval:
        """The expected return, with a 95% interval over members of the ensemble and over starts."""
        return ensemble_interval(self.returns(head, start, steps))

    def _advance(self, latent: Latent, memory: Tensor) -> Tensor:
        """The source's memory (N, M) in imagined states, from the signals read off them."""
        signals = self.world.readout(latent, self.task.instance.dynamics_key).signals
        read = {name: value for name, value in signals.items() if name != REWARD.name}
        never = torch.zeros(len(memory), dtype=torch.bool, device=memory.device)
        after: Tensor = self.source.step(read, memory, never).memory
        return after


def ensemble_interval(returns: Tensor, seed: int = 0, resamples: int = 2000) -> Interval:
    """Mean of returns (members, N) and the 95% interval of what another member says of other starts."""
    table = returns.double().cpu().numpy()
    generator = np.random.default_rng(seed)
    members = generator.integers(len(table), size=resamples)
    starts = generator.integers(table.shape[1], size=(resamples, table.shape[1]))
    low, high = np.percentile(table[members[:, None], starts].mean(1), [2.5, 97.5])
    return Interval(float(table.mean()), float(low), float(high))
