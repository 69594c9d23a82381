"""The runner: the platform's own training loop, its rows collected by actors, its updates made by several ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from manyheads import Task
from manyheads.storage.world_folder import WorldFolder
from manyheads.training import CollectorContext, LockStep, RowCollector, Trainer
from manyheads_ray import RaySettings
from manyheads_ray.cluster import connected
from manyheads_ray.collectors import RayCollectors

if TYPE_CHECKING:
    from manyheads.callbacks import Monitoring
    from manyheads.report.metrics import Metrics
    from manyheads.report.progress import Progress


def run(
    folder: WorldFolder,
    tasks: Sequence[Task],
    steps: int,
    progress: Progress,
    metrics: Metrics,
    settings: RaySettings,
    monitoring: Monitoring | None = None,
) -> None:
    """See `manyheads.runners.Run`."""
    with connected(settings.address):
        if settings.learners > 1:
            from manyheads_ray.learners import train_by_ranks

            train_by_ranks(folder, tasks, steps, progress, metrics, settings, monitoring)
        else:
            with closing(Trainer(folder, tasks, make_collector=collecting(settings, progress.say))) as trainer:
                trainer.collect_and_learn(steps, progress, metrics, monitoring)


def collecting(settings: RaySettings, say: Callable[[str], None]) -> Callable[[CollectorContext], RowCollector]:
    """Makes the collectors that the settings want."""

    def collect(context: CollectorContext) -> RowCollector:
        return RayCollectors(context, settings, say) if settings.collectors else LockStep(context)

    return collect
