"""The device that a world trains on, and how its computations run there."""

from __future__ import annotations

import torch

from manyheads.environment.notice import note_once
from manyheads.errors import ManyheadsError
from manyheads.execution.select import make_execution
from manyheads.fused import REPLACEMENTS
from manyheads.settings import TrainingSettings
from manyheads.storage.world_folder import WorldFolder
from manyheads.world.model import World

TRAIN_ON_CPU = "Leave it out (`--set training.device=auto` takes what there is)"


def check_device(device: str, name: str = "training.device", instead: str = TRAIN_ON_CPU) -> None:
    """Raises ManyheadsError where this machine lacks the device that `name` asks for; `instead`: what to do then."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ManyheadsError(
            f"{name} is cuda, but torch finds no CUDA device here. {instead}; `manyheads doctor` says what this "
            "machine has."
        )


def choose_device(folder: WorldFolder) -> str:
    """`cpu` or `cuda`: what was asked for now, else what the world was trained on where this machine has it.

    Raises ManyheadsError where a device was asked for now that this machine lacks.
    """
    device = folder.settings.training.device
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available() and "training.device" not in folder.machine:
        note_once(f"{folder.path} was trained on cuda, which this machine lacks: it continues on the cpu.")
        return "cpu"
    check_device(device)
    return device


def accelerate(world: World, settings: TrainingSettings) -> None:
    """Lets a world, and the heads trained on it, run as the settings say: compiled where this machine can."""
    world.execution = make_execution(world.device.type, settings.compile, settings.precision, REPLACEMENTS)
