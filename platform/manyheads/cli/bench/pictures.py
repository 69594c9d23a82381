"""A task of Atari's shapes that any machine can run: 64 x 64 x 3 pictures, 18 choices.

It is not a game and costs next to nothing: choices move a bright square over a noisy background, and a simulator's own
work (about a millisecond a step of an Atari emulator) is left out. Images through the encoder, acting and the replay
cost what they cost in an Atari game.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from manyheads.environment.contract import Environment, Options
from manyheads.registry import registry
from manyheads.task import RewardSettings, Task, TaskFile

NAME = "bench/square"
SIDE, CHANNELS, CHOICES, SQUARE, STEP = 64, 3, 18, 8, 3

Picture = npt.NDArray[np.uint8]
Info = dict[str, Any]


class Square(gymnasium.Env[Picture, np.int64]):
    """Choice k moves the square by one of nine steps, twice as far from 9 on; the reward is how far right it is."""

    observation_space = spaces.Box(0, 255, (SIDE, SIDE, CHANNELS), np.uint8)
    action_space = spaces.Discrete(CHOICES)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Picture, Info]:
        super().reset(seed=seed)
        self._background = self.np_random.integers(0, 64, (SIDE, SIDE, CHANNELS), np.uint8)
        self._place = self.np_random.integers(0, SIDE - SQUARE, 2)
        return self._picture(), {}

    def step(self, action: np.int64) -> tuple[Picture, float, bool, bool, Info]:
        far, direction = divmod(int(action), 9)
        move = (1 + far) * STEP * (np.array(divmod(direction, 3)) - 1)
        self._place = np.clip(self._place + move, 0, SIDE - SQUARE)
        return self._picture(), float(self._place[1] / (SIDE - SQUARE)), False, False, {}

    def _picture(self) -> Picture:
        row, column = self._place
        picture: Picture = self._background.copy()
        picture[row : row + SQUARE, column : column + SQUARE] = 255
        return picture


def _make(_: Options) -> Square:
    return Square()


def task() -> Task:
    """The task; its environment is registered in this process alone."""
    environment = Environment(NAME, _make, description="a bright square, moved by 18 choices")
    registry().environments.setdefault(NAME, environment)
    reward = RewardSettings(source="environment")
    return TaskFile(version=1, environment=NAME, reward=reward, episode_steps=1000).resolve(NAME)
