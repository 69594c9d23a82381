"""What every run of training shares: who is told, where numbers go, what is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from manyheads.api.opening import say_on_stderr
from manyheads.callbacks import Callback, Monitoring
from manyheads.errors import ManyheadsError
from manyheads.registry import registry
from manyheads.report.metrics import Metrics
from manyheads.report.open_loggers import Loggers, Opener, choose_loggers
from manyheads.report.progress import Progress
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import Task, load_task

AnyTask = str | Path | Task
"""a task, a registered task's name, an environment's name, a task file, or (in its world) a head's name"""


@dataclass(frozen=True)
class RunOptions:
    """Who is told of a run, where its numbers go, and whether its progress is shown on stderr."""

    monitoring: Monitoring = field(default_factory=Monitoring)
    loggers: Sequence[str] = ("tensorboard",)
    logger_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    show: bool = True

    def say(self, text: str) -> None:
        """A sentence for a person, on stderr."""
        if self.show:
            say_on_stderr(text)

    def progress(self, total: int, title: str, unit: str = "steps", start: int = 0) -> Progress:
        """The progress of work, shown or silent."""
        return Progress(total, title, unit, start, None if self.show else Console(quiet=True))

    def openers(self) -> dict[str, Opener]:
        """The loggers, checked and not yet open."""
        return choose_loggers(self.loggers, self.logger_options)

    @contextmanager
    def metrics(self, folder: WorldFolder, tasks: Sequence[Task], openers: Mapping[str, Opener]) -> Iterator[Metrics]:
        """Where numbers are written while a run lasts."""
        with Metrics(folder.path, Loggers(openers, folder, tasks)) as metrics:
            yield metrics


def monitoring(callback: Callback | Sequence[Callback], evaluate_every: int, episodes: int) -> Monitoring:
    """Checked arguments of a run; one callback or several."""
    callbacks: Sequence[Callback] = (callback,) if callable(callback) else tuple(callback)
    if wrong := next((each for each in callbacks if not callable(each)), None):
        raise ManyheadsError(f"callback: {wrong!r} can't be called; expected a function of one TrainingEvent.")
    for name, value, least in (("evaluate_every", evaluate_every, 0), ("evaluate_episodes", episodes, 1)):
        if value < least:
            raise ManyheadsError(f"{name}={value}: expected {least} or more.")
    return Monitoring(callbacks, evaluate_every, episodes)


def resolve_tasks(folder: WorldFolder | None, tasks: AnyTask | Sequence[AnyTask]) -> list[Task]:
    """Tasks by whatever names them, with their reward sources built: what is wrong is said before anything is saved."""
    named = [tasks] if isinstance(tasks, str | Path | Task) else tasks
    return [resolve_task(folder, each).built() for each in named]


def resolve_task(folder: WorldFolder | None, task: AnyTask) -> Task:
    """One task: an object, a name or a file; else, in a world, the task of a head of that name."""
    if isinstance(task, Task):
        return task
    known = isinstance(task, Path) or task in registry().tasks or task.endswith((".yaml", ".yml"))
    if not known and folder is not None and task in folder.heads:
        return folder.task(str(task))
    return load_task(task)
