"""A world that has hardly learned anything, and has recorded what it takes, for tests of what heads do in it."""

from pathlib import Path

import manyheads

TINY = (
    "world.deter=16", "world.hidden=8", "world.units=8", "training.batch_size=2", "training.batch_length=8",
    "training.num_envs=2", "training.train_ratio=2", "training.compile=false", "heads.actor_critic.horizon=2",
)  # fmt: skip


def train_tiny_world(path: Path) -> Path:
    """Trains it on a cartpole; returns its folder."""
    manyheads.open_world(path, "demo", TINY).train("dmc/cartpole-upright", steps=160, progress=False)
    return path
