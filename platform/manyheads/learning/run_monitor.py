"""What happens during a run: callbacks are told, heads are played now and then, the best ones are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from manyheads.callbacks import EventKind, Monitoring, TrainingEvent
from manyheads.execution.threads import num_threads
from manyheads.heads.contract import Head
from manyheads.learning.evaluate import play, success_rate
from manyheads.learning.prefetch import UpdateCount
from manyheads.storage.evaluations import SELECTION_SEEDS
from manyheads.task import Task
from manyheads.world.model import World

if TYPE_CHECKING:
    from manyheads.report.metrics import Metrics
    from manyheads.report.progress import Progress


class RunMonitor:
    """Carries out a `Monitoring` for one run.

    `best` has the best mean return of each task's evaluations so far, and `keep(task, return)` is called for a better
    one. Evaluation has its own seeds, which neither training nor `manyheads evaluate` uses: what is chosen by them
    says nothing about those.
    """

    def __init__(
        self,
        monitoring: Monitoring,
        world: World,
        heads: Mapping[str, tuple[Task, Head]],
        best: Mapping[str, float],
        keep: Callable[[Task, float], None],
    ) -> None:
        self.monitoring, self.world, self.heads = monitoring, world, heads
        self.stopped = False
        """whether a callback asked for the end"""
        self._best, self._keep = dict(best), keep
        self._due: int | None = None

    def tell(
        self, kind: EventKind, at: UpdateCount, task: str = "", numbers: Mapping[str, float] | None = None
    ) -> None:
        """Tells every callback, also those after one that ends the run."""
        if not self.monitoring.callbacks:
            return
        event = TrainingEvent(kind, at.steps, at.updates, task, dict(numbers or {}))
        answers = [callback(event) for callback in self.monitoring.callbacks]
        self.stopped = self.stopped or any(answer is False for answer in answers)

    def due(self, count: int) -> bool:
        """Whether heads are to be played at this count of rows, or updates; once for each multiple that is passed."""
        every = self.monitoring.evaluate_every
        if not every:
            return False
        if self._due is None:
            self._due = (count // every + 1) * every
        if count < self._due:
            return False
        self._due = (count // every + 1) * every
        return True

    def evaluate(self, at: UpdateCount, metrics: Metrics, progress: Progress) -> None:
        """Plays every head that learns; tells, writes and shows what it earned."""
        for task, head in self.heads.values():
            if not head.learns:
                continue
            with num_threads(1):  # steps of few environments: more threads would wait for one another
                played = play(task, self.monitoring.evaluate_episodes, self.world, head, first_seed=SELECTION_SEEDS)
            count, success = len(played), success_rate(played)
            numbers = {
                "return": sum(episode.return_task for episode in played) / count,
                "simulator": sum(episode.return_simulator for episode in played) / count,
            }
            if success is not None:
                numbers["success"] = success
            metrics.write(at.steps, at.updates, {f"{task.name}/evaluation_{key}": x for key, x in numbers.items()})
            better = numbers["return"] > self._best.get(task.name, float("-inf"))
            if better:
                self._best[task.name] = numbers["return"]
                self._keep(task, numbers["return"])
            progress.say(_sentence(task, at, numbers, count, better))
            self.tell("evaluation", at, task.name, {**numbers, "best": float(better)})


def _sentence(task: Task, at: UpdateCount, numbers: Mapping[str, float], count: int, better: bool) -> str:
    success = f", success {numbers['success']:.0%}" if "success" in numbers else ""
    kept = "; the best so far, kept" if better else ""
    episodes = f"{count} episode{'' if count == 1 else 's'}"
    return f"{task.name} at {at.steps:,} steps: {numbers['return']:.4g} in {episodes}{success}{kept}"
