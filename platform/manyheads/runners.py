"""Where training runs: in this process, or wherever a plugin's runner takes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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

LOCAL = "local"
"""the runner that trains in this process"""
UNWATCHED = "The runner {} takes neither callbacks nor evaluations while it trains."
HeadsTrainer = Callable[..., None]
"""a `TrainHeads` that has its settings"""


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


class TrainHeads(Protocol):
    """Trains heads on the frozen world in `folder`, in imagination alone, until each has made `updates` in all.

    Heads of one group have the same environment, have come equally far and learn from the same batches; in parts they
    get the same numbers. All that they begin with is in the folder, whose latents are up to date and which nobody else
    writes to. Leaves its checkpoint with what was learned, also where Ctrl-C or SIGTERM ends it early
    (KeyboardInterrupt). Tells `progress` of every update of each head and writes numbers to `metrics`.
    """

    def __call__(
        self,
        folder: WorldFolder,
        groups: Sequence[Sequence[Task]],
        updates: int,
        progress: Progress,
        metrics: Metrics,
        settings: Any,
    ) -> None: ...


@dataclass(frozen=True, kw_only=True)
class RunnerKind(Kind):
    """A runner under a name `plugin/thing`; `run` may import heavy modules."""

    run: Run
    run_all: RunAll | None = None
    """for many runs at once; None: it takes one at a time"""
    train_heads: TrainHeads | None = None
    """for heads on a frozen world; None: it trains worlds alone"""

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
            raise ManyheadsError(UNWATCHED.format(self.name))
        self.run(folder, tasks, steps, progress, metrics, settings, **watched)

    def heads_trainer(
        self, options: Mapping[str, Any] | None = None, monitoring: Monitoring | None = None
    ) -> HeadsTrainer | None:
        """What trains heads with these options, None for this process; raises ManyheadsError where they are wrong, or
        callbacks or evaluations are wanted, or it trains no heads."""
        settings = self.read_settings(options)
        if self.name == LOCAL:
            return None
        if self.train_heads is None:
            raise ManyheadsError(
                f"The runner {self.name} trains worlds, and no heads on a frozen one: leave it out, or take another."
            )
        if monitoring:
            raise ManyheadsError(UNWATCHED.format(self.name))
        return partial(self.train_heads, settings=settings)
