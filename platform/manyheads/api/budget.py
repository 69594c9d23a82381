"""How many steps a run has unless it is told, and how long they will take on this machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manyheads import atomic
from manyheads.callbacks import TrainingEvent
from manyheads.errors import ManyheadsError
from manyheads.report.progress import duration
from manyheads.settings import Settings

STEPS = {"demo": 10_000}
OTHERWISE = 100_000
"""rows of a run that says nothing, by size of the world"""
AFTER = 60.0
"""seconds of learning after which a rate is believed"""
SHORT = 20 * 60.0
"""seconds that a first try may take"""


def default_steps(settings: Settings) -> int:
    """Rows that a run of a world collects in all, where nobody says how many."""
    return STEPS.get(settings.world.size, OTHERWISE)


def forecast(settings: Settings, tasks: int, begun: int, steps: int) -> str:
    """How long a run will take, from earlier runs of such worlds on this machine; empty where there were none."""
    try:
        rate = json.loads(_file().read_text(encoding="utf-8"))[_key(settings, tasks)]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return _words(steps - begun, float(rate), begun) if isinstance(rate, int | float) and rate > 0 else ""


class Forecast:
    """A callback that says how long the run will take, once it has learned for a minute, and remembers its rate."""

    def __init__(self, settings: Settings, tasks: int, steps: int, known: bool, say: Callable[[str], None]) -> None:
        """`known`: it was said before the run began."""
        self.settings, self.tasks, self.steps, self.say = settings, tasks, steps, say
        self._known, self._done, self._from = known, False, (0.0, 0)

    def __call__(self, event: TrainingEvent) -> None:
        now = time.monotonic()
        if event.kind != "update" or self._done:
            return
        began, rows = self._from
        if not began:
            self._from = now, event.steps
        elif now - began > AFTER and event.steps > rows:
            rate = (event.steps - rows) / (now - began)
            self._done = True
            _remember(_key(self.settings, self.tasks), rate)
            if not self._known and (words := _words(self.steps - event.steps, rate, event.steps)):
                self.say(words)


def _words(left: int, rate: float, begun: int) -> str:
    """`100,000 steps take about 6 h 10 min; --steps 5000 takes 20 min.`"""
    if left <= 0:
        return ""
    said = f"{left:,} steps take about {duration(left / rate)} here"
    if left / rate > 2 * SHORT:
        fewer = max(1000, round(SHORT * rate, -3))
        said += f"; `--steps {begun + int(fewer)}` would take {duration(fewer / rate)}"
    return f"{said}. Ctrl-C saves at any time, and the same command continues."


def _key(settings: Settings, tasks: int) -> str:
    training = settings.training
    numbers = (training.batch_size, training.batch_length, training.train_ratio, training.device, training.compile)
    return " ".join(map(str, (settings.world.size, settings.world.deter, *numbers, tasks, os.cpu_count())))


def _file() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "manyheads" / "speed.json"


def _remember(key: str, rate: float) -> None:
    """Keeps a rate for the next run; a cache that can't be written is done without."""
    path = _file()
    known: dict[str, Any] = {}
    try:
        known = dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
        atomic.write_json(path, {**known, key: rate})
    except (OSError, ValueError, TypeError, ManyheadsError):
        return
