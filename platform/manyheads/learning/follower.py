"""A learner that follows: it has no replay and no folder, and makes the updates of the rank that has them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from manyheads.errors import ManyheadsError
from manyheads.execution.ranks import Ranks
from manyheads.experience.latent_table import LatentLayout
from manyheads.learning.device import accelerate, choose_device
from manyheads.learning.latent_rewards import LatentRewards
from manyheads.learning.learner import Learner
from manyheads.learning.readouts import ReadoutLearner
from manyheads.learning.update_step import UpdateStep
from manyheads.storage.agent import build_head
from manyheads.storage.readouts import add_readouts
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import Task
from manyheads.world.model import World


def follow(folder: WorldFolder, tasks: Sequence[Task], ranks: Ranks) -> None:
    """Trains the world and the heads of `tasks` with the root of `ranks`, until it asks for no more.

    Of `folder` only settings, interface and instances are read. Errors of the user's are the root's to raise.
    """
    settings = folder.settings
    torch.manual_seed(settings.seed)
    world = World(folder.interface, settings.world).to(choose_device(folder))
    accelerate(world, settings.training)
    heads = {task.name: build_head(task, world, folder) for task in tasks}
    learner = Learner(
        world,
        heads,
        settings.optimizer,
        settings.seed,
        ranks=ranks,
        starts_per_head=settings.training.starts_per_head,
    )
    add_readouts(world, [task.instance for task in tasks], settings.seed)
    rewards = LatentRewards(world, tasks, settings.optimizer, settings.seed)
    learner.latent_rewards = rewards.networks
    layout = LatentLayout(settings.world.deter, settings.world.groups, settings.world.classes)
    step = UpdateStep(learner, ReadoutLearner(world, settings.optimizer), rewards, layout)
    step.receive_state()
    while True:
        try:
            return step.follow()
        except ManyheadsError:
            continue  # on all ranks alike, as in a loss that is not finite: the root says what becomes of the run
