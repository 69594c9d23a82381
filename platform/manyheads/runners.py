"""Where training runs: in this process, or wherever a plugin's runner takes it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from manyheads.callbacks import Monitoring
from manyheads.errors import ManyheadsError
from manyheads.kinds import Kind

if TYPE_CHECKING:
    from manyheads.jobs import Job
    from manyheads.report.metrics import Metrics
    from manyheads.report.progress import Progress
    from manyheads.storage.world_folder import WorldFolder
    from manyheads.task import Task


class Run(Protocol):
    """Trains the world in `folder` and the heads of `tasks` until the world has collected `steps` rows in all.

    Resumes from the folder's checkpoint and leaves one behind, also where Ctrl-C or SIGTERM ends it early
    (KeyboardInterrupt). Tells `progress` of every collected row and writes numbers to `metrics`. `monitoring` has the
    callbacks and how often heads are played (`Trainer.collect_and_learn` does both); a runner that leaves the argument
    out takes neither.
    """

    def __call__(
        self,
        folder: WorldFolder,
        tasks: Sequence[Task],
        steps: int,
        progress: Progress,
        metrics: Metrics,
        settings: Any,
        monitoring: Monitoring = ...,
    ) -> None: ...


class RunAll(Protocol):
    """Runs jobs, as many at a time as there is room for, and returns what those that failed said, by name.

    Tells `progress` of every row that their worlds collect.
    """

    def __call__(self, jobs: Sequence[Job], progress: Progress, settings: Any) -> dict[str, str]: ...


@dataclass(frozen=True, kw_only=True)
class RunnerKind(Kind):
    """A runner under a name `plugin/thing`; `run` may import heavy modules."""

    run: Run
    run_all: RunAll | None = None
    """for many runs at once; None: it takes one at a time"""

    def start(
        self,
        folder: WorldFolder,
        tasks: Sequence[Task],
        steps: int,
        progress: Progress,
        metrics: Metrics,
        settings: Any,
        monitoring: Monitoring,
    ) -> None:
        """Runs it; raises ManyheadsError where callbacks or evaluations are wanted and it takes none."""
        watched = {"monitoring": monitoring} if monitoring else {}
        if watched and "monitoring" not in inspect.signature(self.run).parameters:
            raise ManyheadsError(f"The runner {self.name} takes neither callbacks nor evaluations while it trains.")
        self.run(folder, tasks, steps, progress, metrics, settings, **watched)
