"""Numbers of training as curves for the page: few points, followed while they grow."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from manyheads.report.metrics import Follower, Series, thinned

MAIN = ("return", "simulator", "imagined_return")
"""what is shown first, of every task"""
POINTS = 300
MOST_WORLDS = 32


class Curves:
    """Metrics of worlds, each followed by whoever looks at it. Thread-safe."""

    def __init__(self) -> None:
        self._followers: dict[Path, Follower] = {}
        self._lock = threading.Lock()

    def read(self, world: Path, owner: str | None = None) -> dict[str, Any]:
        """Curves JSON-able: the main ones of every task, or all of one `owner` (a task, or `world`).

        Raises ManyheadsError where the file is damaged.
        """
        with self._lock:
            follower = self._followers.setdefault(world, Follower(world))
            for old in list(self._followers)[:-MOST_WORLDS]:
                del self._followers[old]
            follower.update()
            series = follower.series
            chosen = {name: one for name, one in series.items() if _wanted(name, owner)}
            return {
                "length": sum(len(one.value) for one in series.values()),
                "curves": {name: _points(one) for name, one in chosen.items() if one.value},
                "nonfinite": sum(one.nonfinite for one in series.values()),
            }


def _wanted(name: str, owner: str | None) -> bool:
    return name.rpartition("/")[2] in MAIN if owner is None else name.startswith(f"{owner}/")


def _points(one: Series) -> dict[str, list[float]]:
    few = thinned(one, POINTS)
    return {
        "step": [float(step) for step in few.step],
        "updates": [float(update) for update in few.updates],
        "minutes": [round(seconds / 60, 3) for seconds in few.time],
        "value": [float(f"{value:.5g}") for value in few.value],
    }
