"""Where the numbers of training are shown, in addition to the world's `metrics.jsonl`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from manyheads.kinds import Kind


class Logger(Protocol):
    """An open logger."""

    def write(self, step: int, updates: int, numbers: Mapping[str, float]) -> None:
        """Numbers by name after `step` environment rows and `updates` updates; some may be NaN or infinite."""

    def close(self) -> None:
        """Writes what is left and closes; called once."""


@dataclass(frozen=True, kw_only=True)
class LoggerKind(Kind):
    """A logger under a name `plugin/thing`.

    `open(world, config, settings)` gets the world's folder, its settings as plain data (with `tasks`, their names),
    and its own checked options. It is called when the first numbers are written; it may import heavy modules.
    """

    open: Callable[[Path, Mapping[str, Any], Any], Logger]
