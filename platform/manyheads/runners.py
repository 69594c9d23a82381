"""Where training runs: in this process, or wherever a plugin's runner takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from manyheads.kinds import Kind

if TYPE_CHECKING:
    from manyheads.report.metrics import Metrics
    from manyheads.report.progress import Progress
    from manyheads.storage.world_folder import WorldFolder
    from manyheads.task import Task


class Run(Protocol):
    """Trains the world in `folder` and the heads of `tasks` until the world has collected `steps` rows in all.

    Goes on from the folder's checkpoint and leaves one behind, also where Ctrl-C or SIGTERM ends it early
    (KeyboardInterrupt). Tells `progress` of every collected row and writes numbers to `metrics`.
    """

    def __call__(
        self,
        folder: WorldFolder,
        tasks: Sequence[Task],
        steps: int,
        progress: Progress,
        metrics: Metrics,
        settings: Any,
    ) -> None: ...


@dataclass(frozen=True, kw_only=True)
class RunnerKind(Kind):
    """A runner under a name `plugin/thing`; `run` may import heavy modules."""

    run: Run
