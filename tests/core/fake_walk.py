"""A walk that misbehaves, for the tests of collectors. No torch here: worker processes that make it need none."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from manyheads.environment.contract import Environment, Instance, Options, Signal


class WalkOptions(Options):
    """How the random walk misbehaves."""

    signals: int = 1
    noisy: bool = False
    pictures: bool = False
    fails_at: int = -1
    how: str = "raises"
    once: str = ""
    """a file: it fails only while that is missing, and makes it"""
    pays: float = 1.0
    length: int = 12


class Walk(gymnasium.Env[Any, Any]):
    """A walk from a seeded start; shows its place, its step and its last action. Ends at a seeded step."""

    noise = 0.0
    signals: int | None = None
    """in place of the option, as another version of the plugin would measure"""

    def __init__(self, options: WalkOptions) -> None:
        self.options = options
        vector = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.observation_space: Any = vector
        if options.pictures:
            image = gymnasium.spaces.Box(0, 255, (16, 16, 1), np.uint8)
            self.observation_space = gymnasium.spaces.Dict({"image": image, "vector": vector})
        self.action_space = gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.at, self.moved = float(self.np_random.normal()), 0, 0.0
        self.end = int(self.np_random.integers(2, self.options.length))
        self.truncates = bool(self.np_random.integers(2))
        return self.shown(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at += 1
        if self.at == self.options.fails_at and not (self.options.once and Path(self.options.once).exists()):
            if self.options.once:
                Path(self.options.once).touch()
            fail(self.options.how)
        self.moved = float(action[0])
        self.place += self.moved
        if self.options.noisy:
            Walk.noise += 1.0
            self.place += Walk.noise
        ends = self.at >= self.end
        return self.shown(), self.moved * self.options.pays, ends and not self.truncates, ends and self.truncates, {}

    def shown(self) -> Any:
        vector = np.array([self.place, self.at, self.moved], np.float32)
        if not self.options.pictures:
            return vector
        return {"image": np.full((16, 16, 1), self.at, np.uint8), "vector": vector}


OTHERS: dict[str, BaseException] = {
    "cancels": asyncio.CancelledError("by its own loop"),
    "ends a generator": GeneratorExit(),
    "interrupts": KeyboardInterrupt(),
}
"""what is no Exception"""


def fail(how: str) -> None:
    """What simulators do at times."""
    if how == "raises":
        raise RuntimeError("the wheel came off")
    if how == "exits":
        sys.exit("no licence")
    if how in OTHERS:
        raise OTHERS[how]
    if how == "dies":
        os._exit(7)
    while how == "hangs":
        time.sleep(1)


def _measure(env: Any, observation: Any) -> dict[str, float]:
    walk = env.unwrapped
    return {f"place[{i}]": walk.place + i for i in range(walk.signals or walk.options.signals)}


WALK = Environment(
    "fake/walk",
    Walk,
    signals=lambda options: tuple(Signal(f"place[{i}]") for i in range(options.signals)),
    measure=_measure,
    options=WalkOptions,
)


def walk(**options: Any) -> Instance:
    return WALK.instance(options)
