"""A learner that follows: it has no replay and no folder, and makes the updates of the rank that has them."""

from __future__ import annotations

from collections.abc import Sequence

from manyheads.errors import ManyheadsError
from manyheads.execution.ranks import Ranks
from manyheads.learning.build_update_step import build_update_step
from manyheads.learning.device import choose_device
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import Task


def follow(folder: WorldFolder, tasks: Sequence[Task], ranks: Ranks) -> None:
    """Trains the world and the heads of `tasks` with the root of `ranks`, until it asks for no more.

    Of `folder` only settings, interface and instances are needed. Errors of the user's are the root's to raise.
    """
    step = build_update_step(folder, tasks, choose_device(folder), ranks=ranks)
    step.receive_state()
    while True:
        try:
            return step.follow()
        except ManyheadsError:
            continue  # on all ranks alike, as in a loss that is not finite: the root says what becomes of the run
