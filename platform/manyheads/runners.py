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
    from manyheads.report.metrics import Metrics
    from manyheads.report.progress import Progress
    from manyheads.storage.world_folder import WorldFolder
    from manyheads.task import Task


class Run(Protocol):
    """Trains the world in `folder` and the heads of `tasks` until the world has collected `steps` rows in all.

    Goes on from the folder's checkpoint and leaves one behind, also where Ctrl-C or SIGTERM ends it early
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


@dataclass(frozen=True, kw_only=True)
class RunnerKind(Kind):
    """A runner under a name `plugin/thing`; `run` may import heavy modules."""

    run: Run

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
        if not monitoring:
            return self.run(folder, tasks, steps, progress, metrics, settings)
        if "monitoring" not in inspect.signature(self.run).parameters:
            raise ManyheadsError(f"The runner {self.name} takes neither callbacks nor evaluations while it trains.")
        return self.run(folder, tasks, steps, progress, metrics, settings, monitoring=monitoring)
