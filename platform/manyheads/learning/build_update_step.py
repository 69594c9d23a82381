"""Builds what makes updates: a world, the heads of its tasks, and what trains them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from manyheads.execution.ranks import ALONE, Ranks
from manyheads.experience.latent_table import LatentLayout
from manyheads.heads.contract import Head
from manyheads.learning.device import accelerate
from manyheads.learning.fresh_readouts import open_readouts
from manyheads.learning.latent_rewards import LatentRewards
from manyheads.learning.learner import Learner
from manyheads.learning.update_step import UpdateStep
from manyheads.storage.agent import build_head
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import Task
from manyheads.world.model import World


def build_update_step(
    folder: WorldFolder, tasks: Sequence[Task], device: str, frozen: bool = False, ranks: Ranks = ALONE
) -> UpdateStep:
    """What makes updates of the heads of `tasks`, and of their world unless it is `frozen`.

    Of what the folder has saved only readouts are loaded; seeds torch's global generator.
    """
    settings = folder.settings
    torch.manual_seed(settings.seed)
    world = World(folder.interface, settings.world).to(device)
    accelerate(world, settings.training)
    learner = Learner(
        world,
        _build_heads(folder, tasks, world, frozen),
        settings.optimizer,
        settings.seed,
        train_world=not frozen,
        ranks=ranks,
        starts_per_head=settings.training.starts_per_head,
        stack_room=settings.training.stack_room,
    )
    readouts = open_readouts(world, folder, tasks)
    latent_rewards = LatentRewards(world, tasks, settings.optimizer, settings.seed)
    learner.latent_rewards = latent_rewards.networks
    layout = LatentLayout(settings.world.deter, settings.world.groups, settings.world.classes)
    return UpdateStep(learner, readouts, latent_rewards, layout)


def _build_heads(folder: WorldFolder, tasks: Sequence[Task], world: World, frozen: bool) -> dict[str, Head]:
    """The tasks' heads; on a frozen world each begins with the weights that it would have alone."""
    state, heads = torch.get_rng_state(), {}
    for task in tasks:
        if frozen:
            torch.set_rng_state(state)
        heads[task.name] = build_head(task, world, folder)
    return heads
