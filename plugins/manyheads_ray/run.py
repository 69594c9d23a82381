"""The runner: the platform's own training loop, its rows collected by actors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from manyheads import Task
from manyheads.storage.world_folder import WorldFolder
from manyheads.training import CollectorContext, LockStep, RowCollector, Trainer
from manyheads_ray import RaySettings
from manyheads_ray.cluster import connected
from manyheads_ray.collectors import RayCollectors

if TYPE_CHECKING:
    from manyheads.report.metrics import Metrics
    from manyheads.report.progress import Progress


def run(
    folder: WorldFolder, tasks: Sequence[Task], steps: int, progress: Progress, metrics: Metrics, settings: RaySettings
) -> None:
    """See `manyheads.runners.Run`."""
    with connected(settings.address):
        train(folder, tasks, steps, progress, metrics, settings)


def train(
    folder: WorldFolder, tasks: Sequence[Task], steps: int, progress: Progress, metrics: Metrics, settings: RaySettings
) -> None:
    """The training loop in this process."""
    collectors: list[RayCollectors] = []

    def collect(context: CollectorContext) -> RowCollector:
        if not settings.collectors:
            return LockStep(context)
        collectors.append(RayCollectors(context, settings))
        return collectors[0]

    trainer = Trainer(folder, tasks, make_collector=collect)
    try:
        trainer.collect_and_learn(steps, progress, metrics)
    finally:
        trainer.close()
        for each in collectors:
            progress.say(f"{each.lag} The bound is {settings.max_lag}.")
