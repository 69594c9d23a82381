"""Readouts that a world lacks for its tasks: made when a run begins; a frozen world trains them from stored latents."""

from __future__ import annotations

from collections.abc import Sequence

from manyheads.execution.trees import map_tensors
from manyheads.experience.replay import Replay
from manyheads.learning.prefetch import BatchSampler
from manyheads.learning.readouts import ReadoutLearner
from manyheads.storage.readouts import add_readouts, load_readouts, optimizer_tensors
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import Task
from manyheads.world.model import World

FIT_UPDATES = 1000
"""by which a readout that a frozen world lacks is trained"""


def open_readouts(world: World, folder: WorldFolder, tasks: Sequence[Task]) -> ReadoutLearner:
    """Gives the world its saved readouts, and fresh ones for environments of `tasks` that have none."""
    load_readouts(world, folder)
    fresh = add_readouts(world, [task.instance for task in tasks], folder.settings.seed)
    learner = ReadoutLearner(world, folder.settings.optimizer, fresh)
    for key, optimizer in learner.optimizers.items():
        saved = optimizer_tensors(folder, key)
        if saved and key not in fresh:
            optimizer.load_state_dict(saved)
    return learner


def fit_fresh_readouts(learner: ReadoutLearner, folder: WorldFolder, replay: Replay) -> None:
    """Trains the fresh readouts of a frozen world from the latents in `replay`, which are up to date."""
    fresh = {key: learner.world.readouts[key] for key in learner.fresh}
    training, device = folder.settings.training, learner.world.device
    size = training.batch_size, training.batch_length
    draw = BatchSampler(replay, folder.interface, {}, size, frozen=True, readouts=fresh)
    for _ in range(FIT_UPDATES if fresh else 0):
        work = map_tensors(lambda x: x.to(device), draw()[0])
        assert work.latents is not None
        learner.update(work.latents, work.signals, work.batch.is_terminal)
