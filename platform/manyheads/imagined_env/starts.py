"""Where imagined episodes start: from what the environment showed at the start of recorded episodes, or shows now."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from manyheads.environment.adapter import FlatEnv, LayoutMap
from manyheads.environment.pictures import Pixels
from manyheads.environment.spaces import Floats
from manyheads.experience.replay import Replay
from manyheads.task import Task

NEWEST = 512
"""recorded episodes that are started from"""


class Starts(Protocol):
    """First rows of episodes, in the layout of the world."""

    def draw(self, generator: np.random.Generator) -> tuple[Pixels | None, Floats]:
        """An image (H, W, C) or None, and a vector (V,)."""


class RecordedStarts:
    """The first rows of recorded episodes: of the task's own instance, else of any with its dynamics."""

    def __init__(self, replay: Replay, task: Task) -> None:
        episodes = replay.episodes(task.instance.dynamics_key)
        own = [episode for episode in episodes if episode.instance.key == task.instance.key]
        first = [replace(each, stop=each.start + 1) for each in (own or episodes)[-NEWEST:]]
        self._rows = [(None if each.image is None else each.image[0], each.vector[0]) for each in first]

    def __len__(self) -> int:
        return len(self._rows)

    def draw(self, generator: np.random.Generator) -> tuple[Pixels | None, Floats]:
        return self._rows[int(generator.integers(len(self._rows)))]


class SimulatorStarts:
    """What the simulator shows at a reset: for a world that comes without its replay."""

    def __init__(self, env: FlatEnv, layout_map: LayoutMap) -> None:
        self._env, self._map = env, layout_map

    def draw(self, generator: np.random.Generator) -> tuple[Pixels | None, Floats]:
        seen = self._env.reset(seed=int(generator.integers(2**31)))
        return self._map.map_image(seen.image), self._map.map_vector(seen.vector)
