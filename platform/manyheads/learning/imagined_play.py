"""Heads that play in imagination: what is measured along the way, and what an ensemble expects every reward to pay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from manyheads.environment.contract import REWARD
from manyheads.heads.contract import Head
from manyheads.heads.imagination import with_memory
from manyheads.learning.prediction import ReturnPredictor
from manyheads.learning.transfer import fit_predictor, starts
from manyheads.world.model import Latent, World

if TYPE_CHECKING:
    from manyheads.learning.trainer import Trainer

Signals = dict[str, Tensor]
STEPS = 200
"""imagined steps of a play: beyond, a small world's errors have added up"""


@dataclass(frozen=True)
class Expected:
    """The return of a play under one reward."""

    mean: float
    """over starts and members of the ensemble"""
    disagreement: float
    """standard deviation between the members' means: where it is large, no recorded row has shown such states"""


@dataclass(frozen=True)
class ImaginedPlay:
    """N episodes that one head plays in imagination."""

    signals: dict[str, npt.NDArray[np.float64]]
    """each (T, N) as the world's readout predicts them; row 0 is a recorded start"""
    expected: dict[str, Expected]
    """by the name of the task whose reward it is"""


def imagined_plays(trainer: Trainer, steps: int = STEPS) -> dict[str, ImaginedPlay]:
    """Each head of a trainer, whose tasks share an environment, under the rewards of all of them.

    Everything is as the frozen world predicts it; no environment is stepped.
    """
    tasks = trainer.tasks
    predictors = {task.name: fit_predictor(trainer, task) for task in tasks}
    begin = starts(trainer, tasks[0])
    found = {}
    for task in tasks:
        features, signals = play(
            trainer.world,
            trainer.heads[task.name],
            task.instance.dynamics_key,
            begin,
            min(steps, task.episode_steps),
            trainer.folder.settings.seed,
        )
        expected = {name: _expected(one, features, signals) for name, one in predictors.items()}
        table = {name: column.double().cpu().numpy() for name, column in signals.items()}
        found[task.name] = ImaginedPlay(table, expected)
    return found


@torch.no_grad()
def play(world: World, head: Head, dynamics_key: str, begin: Latent, steps: int, seed: int) -> tuple[Tensor, Signals]:
    """Features (T, N, F) and signals (T, N) of N episodes that a head plays in imagination from their starts on."""
    n = len(begin.deter)
    generator = torch.Generator(world.device).manual_seed(seed)
    latent, state = begin, head.initial_state(n)
    is_first = torch.ones(n, dtype=torch.bool, device=world.device)
    seen = [latent]
    for _ in range(steps):
        action, state = head.act(world, latent, state, is_first, generator)
        latent = world.imagine_step(latent, action, world.draw_noise(n, generator=generator))
        is_first = torch.zeros_like(is_first)
        seen.append(latent)
    rows = [world.readout(one, dynamics_key).signals for one in seen]
    signals = {name: torch.stack([row[name] for row in rows]) for name in rows[0] if name != REWARD.name}
    return torch.stack([one.feature.float() for one in seen]), signals


@torch.no_grad()
def _expected(predictor: ReturnPredictor, features: Tensor, signals: Signals) -> Expected:
    """What each member of the ensemble expects the episodes to pay."""
    source, memory = predictor.source, None
    if source.memory_size:
        is_first = torch.zeros(features.shape[:2], dtype=torch.bool, device=features.device)
        is_first[0] = True
        memory = source.unroll(signals, is_first).memory
    total: Tensor | float = 0.0
    alive: Tensor | float = 1.0
    for t in range(1, len(features)):
        reward, continues = predictor.ensemble(with_memory(features[t], None if memory is None else memory[t]))
        total, alive = total + alive * reward, alive * continues
    assert isinstance(total, Tensor)
    members = total.mean(1)
    return Expected(float(members.mean()), float(members.std()))
