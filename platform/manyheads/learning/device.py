"""The device that a world trains on, and how its computations run there."""

from __future__ import annotations

import torch

from manyheads.errors import ManyheadsError
from manyheads.execution.select import make_execution
from manyheads.fused import REPLACEMENTS
from manyheads.settings import TrainingSettings
from manyheads.world.model import World

TRAIN_ON_CPU = "Set it to cpu (`--set training.device=cpu`, or in an existing world's world.yaml)"


def check_device(device: str, name: str = "training.device", instead: str = TRAIN_ON_CPU) -> None:
    """Raises ManyheadsError where this machine lacks the device that `name` asks for; `instead`: what to do then."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ManyheadsError(
            f"{name} is cuda, but torch finds no CUDA device here. {instead}; `manyheads doctor` says what this "
            "machine has."
        )


def accelerate(world: World, settings: TrainingSettings) -> None:
    """Lets a world, and the heads trained on it, run as the settings say: compiled where this machine can."""
    world.execution = make_execution(world.device.type, settings.compile, settings.precision, REPLACEMENTS)
