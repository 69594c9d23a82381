"""The loggers that a run was asked for, opened when there is something to write."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from manyheads.loggers import Logger, LoggerKind
from manyheads.registry import registry
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import Task

Opener = Callable[[Path, Mapping[str, Any]], Logger]


def choose_loggers(names: Sequence[str], options: Mapping[str, Mapping[str, Any]]) -> dict[str, Opener]:
    """The named loggers with their options, not yet open.

    Raises ManyheadsError for an unknown name, a wrong option or a missing module.
    """
    kinds = [registry().loggers[name] for name in dict.fromkeys(names)]
    return {kind.name: _opener(kind, kind.read_settings(options.get(kind.name))) for kind in kinds}


class Loggers:
    """Several loggers as one. One that fails is named with its error and closed; the others and the run continue."""

    def __init__(self, openers: Mapping[str, Opener], folder: WorldFolder, tasks: Sequence[Task]) -> None:
        self._openers = dict(openers)
        self._world = folder.path
        self._config = {**folder.settings.model_dump(mode="json"), "tasks": [task.name for task in tasks]}
        self._open: dict[str, Logger] = {}

    def write(self, step: int, updates: int, numbers: Mapping[str, float]) -> None:
        for name, opener in [*self._openers.items()]:
            try:
                if name not in self._open:
                    self._open[name] = opener(self._world, self._config)
                self._open[name].write(step, updates, numbers)
            except Exception as error:  # whatever a plugin raises, training continues
                self._leave_out(name, error)

    def close(self) -> None:
        for name in [*self._open]:
            try:
                self._open.pop(name).close()
            except Exception as error:  # whatever a plugin raises, the others are closed
                self._leave_out(name, error)

    def _leave_out(self, name: str, error: Exception) -> None:
        print(
            f"The logger {name} failed and is left out from here: {type(error).__name__}: {error}. "
            "All numbers are in metrics.jsonl.",
            file=sys.stderr,
        )
        del self._openers[name]
        self._open.pop(name, None)


def _opener(kind: LoggerKind, settings: BaseModel) -> Opener:
    return lambda world, config: kind.open(world, config, settings)
