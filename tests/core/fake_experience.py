"""Small fakes for the tests of replay and collector: rows that tell where they come from, a walk that misbehaves."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from manyheads.environment.contract import Environment, Instance, Options, Signal
from manyheads.environment.layout import SpaceLayout
from manyheads.experience.chunk import Rows
from manyheads.experience.latent_table import LatentLayout
from manyheads.experience.stream import RecordedInstance

INTERFACE = SpaceLayout(vector=("a", "b"), continuous=("push",), discrete=(("turn", 3),))
PICTURED = INTERFACE.model_copy(update={"image": (3, 2, 1)})
LAYOUT = LatentLayout(deter=3, groups=2, classes=4)


def recorded(name: str = "fake/one", signals: Sequence[str] = ("reward", "height")) -> RecordedInstance:
    return RecordedInstance(key=f"{name} {{}}", dynamics_key=f"{name} {{}}", signals=tuple(signals), layout=INTERFACE)


def random_rows(
    generator: np.random.Generator,
    interface: SpaceLayout,
    first: Sequence[bool],
    last: Sequence[bool],
    episode: Sequence[int],
    index: Sequence[int],
    signals: int = 3,
) -> Rows:
    """Rows of random numbers with the given flags."""
    count = len(first)
    return Rows(
        image=None
        if interface.image is None
        else generator.integers(256, size=(count, *interface.image), dtype=np.uint8),
        vector=generator.normal(size=(count, len(interface.vector))).astype(np.float32),
        action=generator.normal(size=(count, interface.action_size)).astype(np.float32),
        signals=generator.normal(size=(count, signals)),
        is_first=np.array(first),
        is_last=np.array(last),
        is_terminal=np.array(last) & (generator.random(count) < 0.5),
        episode=np.array(episode),
        index=np.array(index),
    )


def random_latents(generator: np.random.Generator, count: int) -> tuple[Any, Any]:
    """Latents that half precision holds exactly."""
    deter = generator.integers(-100, 100, size=(count, LAYOUT.deter)) / np.float32(128)
    stoch = np.eye(LAYOUT.classes, dtype=np.float32)[generator.integers(LAYOUT.classes, size=(count, LAYOUT.groups))]
    return deter.astype(np.float32), stoch


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
