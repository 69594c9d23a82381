"""Small fakes for the tests of replay and collector: rows that tell where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from manyheads.environment.layout import SpaceLayout
from manyheads.experience.latent_table import LatentLayout
from manyheads.experience.records import Rows
from manyheads.experience.stream import RecordedInstance

INTERFACE = SpaceLayout(vector=("a", "b"), continuous=("push",), discrete=(("turn", 3),))
PICTURED = INTERFACE.model_copy(update={"image": (3, 2, 1)})
LAYOUT = LatentLayout(deter=3, groups=2, classes=4)


def recorded(
    name: str = "fake/one", signals: Sequence[str] = ("reward", "height"), layout: SpaceLayout = INTERFACE
) -> RecordedInstance:
    return RecordedInstance(key=f"{name} {{}}", dynamics_key=f"{name} {{}}", signals=tuple(signals), layout=layout)


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
