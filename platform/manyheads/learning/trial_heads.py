"""How well heads do by the true reward that learned what specifications pay, in a frozen world's imagination."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyheads.environment.contract import Instance
from manyheads.experience.replay import Replay
from manyheads.heads.contract import Head
from manyheads.learning.imagined_play import play
from manyheads.learning.labels import Labeller
from manyheads.learning.learner import Learner
from manyheads.learning.prefetch import BatchSampler
from manyheads.learning.refresh_latents import refresh_latents
from manyheads.learning.transfer import undisturbed
from manyheads.settings import OptimizerSettings
from manyheads.storage.agent import LoadedWorld, build_head
from manyheads.storage.readouts import READOUTS
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import Task
from manyheads.world.model import Latent, World

QUICK = OptimizerSettings(lr=1e-3, warmup=10)
"""heads that are only compared learn faster than those that are kept"""
BATCH = 8, 16
"""sequences and rows of an update"""
STARTS = 64
"""recorded states that each head plays from"""
CERTAIN = 3.0
"""standard errors by which the truth's own head has to gain, or nothing can be told"""


class TrialHeads:
    """Heads that learn in a trained world with readouts and are never kept; the world is opened on first use."""

    def __init__(self, folder: WorldFolder, updates: int, steps: int) -> None:
        """`updates` of each head, and imagined `steps` by which it is judged."""
        self.folder, self.updates, self.steps = folder, updates, steps

    def measures(self, instance: Instance) -> bool:
        """Whether the world is trained and has a readout of an instance."""
        checkpoint = self.folder.checkpoint
        return "world" in checkpoint.names and instance.dynamics_key in checkpoint.state.get(READOUTS, {})

    def shares(self, truth: Task, others: Sequence[Task]) -> list[float] | None:
        """What a head of each of the other tasks earns by the true one, in [-1, 1]: 0 is what an untrained head earns,
        1 what the truth's own does; None where that one learns nothing certain.

        All tasks are of one instance and have built rewards. All heads begin with the same weights, learn as one stack
        from the same rows, and imagine the same noise.
        """
        tasks = {task.name: task for task in (truth, *others)}
        heads = {name: self._fresh(task) for name, task in tasks.items()}
        draw = self._sampler(truth.instance, tasks)
        with undisturbed(self._replay):
            begin = self._starts(draw)
            untrained = self._earned(truth, heads[truth.name], begin)
            learner = Learner(self._world, heads, QUICK, self.folder.settings.seed, train_world=False)
            for generator in learner.generators.values():
                generator.manual_seed(self.folder.settings.seed)
            for _ in range(self.updates):
                work = draw()[0]
                assert work.latents is not None  # a frozen world's batches have them
                learner.update_heads(work.batch, work.latents, work.labels)
        gains = {name: self._earned(truth, head, begin) - untrained for name, head in heads.items()}
        most = gains.pop(truth.name)
        if most.mean() <= CERTAIN * most.std() / math.sqrt(len(most)):
            return None
        return [float(np.clip(gain.mean() / most.mean(), -1.0, 1.0)) for gain in gains.values()]

    def close(self) -> None:
        """Closes the replay, where it was opened."""
        if "_replay" in self.__dict__:
            self._replay.close()

    @cached_property
    def _world(self) -> World:
        return LoadedWorld(self.folder).model

    @cached_property
    def _replay(self) -> Replay:
        """With stored states that are this world's own."""
        replay = self.folder.replay()
        refresh_latents(self._world, replay, self.folder.settings.seed)
        return replay

    def _fresh(self, task: Task) -> Head:
        world = self._world
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.folder.settings.seed)
            return build_head(task, world, self.folder)

    def _sampler(self, instance: Instance, tasks: Mapping[str, Task]) -> BatchSampler:
        return BatchSampler(
            self._replay,
            self.folder.interface,
            {name: Labeller(task, self._replay) for name, task in tasks.items()},
            BATCH,
            frozen=True,
            shares=lambda: {instance.dynamics_key: 1.0},
        )

    def _starts(self, draw: BatchSampler) -> Latent:
        """Recorded states (N, ...) from anywhere in episodes."""
        latents = draw()[0].latents
        assert latents is not None
        rows = latents.deter.shape[0] * latents.deter.shape[1]
        chosen = torch.linspace(0, rows - 1, min(STARTS, rows)).long()
        return latents.map(lambda x: x.flatten(0, 1)[chosen])

    @torch.no_grad()
    def _earned(self, truth: Task, head: Head, begin: Latent) -> NDArray[np.float64]:
        """The return (N,) by the truth of episodes that a head plays in imagination."""
        key = truth.instance.dynamics_key
        features, signals = play(self._world, head, key, begin, self.steps, self.folder.settings.seed)
        reward = truth.reward.label({name: _array(signals[name]) for name in truth.reward.signals}).reward
        lives = _array(self._world.readouts[key](features).continues)[:-1].cumprod(axis=0)
        lives = np.concatenate([np.ones_like(lives[:1]), lives[1:]])  # where it plays from, nothing has ended
        earned: NDArray[np.float64] = (lives * reward[1:]).sum(axis=0)
        return earned


def _array(values: Tensor) -> NDArray[np.float64]:
    return values.double().cpu().numpy()
