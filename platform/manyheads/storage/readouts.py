"""A world's readouts in its folder: their own set of tensors, and in the manifest which signals they predict."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from manyheads.environment.contract import REWARD, Instance
from manyheads.storage.world_folder import WorldFolder
from manyheads.world.model import World
from manyheads.world.readout import Readout

READOUTS = "readouts"
"""name of the set of tensors, and of the record in the checkpoint's state"""


def load_readouts(world: World, folder: WorldFolder) -> None:
    """Gives the world the readouts that were saved with it; a world of an earlier version has none."""
    record = folder.checkpoint.state.get(READOUTS, {})
    if not record:
        return
    tensors = folder.checkpoint.read(READOUTS)
    for number, (key, known) in enumerate(record.items()):
        readout = Readout(world.settings, known["signals"]).to(world.device)
        readout.load_state_dict(_below(f"{number}/weights/", tensors))
        world.readouts[key] = readout


def add_readouts(world: World, instances: Iterable[Instance], seed: int) -> list[str]:
    """Gives the world a fresh readout of each instance that it has none of, or whose signals have changed since;
    none where nothing is measured.

    Returns their dynamics keys. Weights depend on the seed and the key alone; the global generator is left as it was.
    """
    fresh = []
    for instance in instances:
        key, signals = instance.dynamics_key, _signals(instance)
        if not signals or (key in world.readouts and world.readouts[key].signals == signals):
            continue
        with torch.random.fork_rng():
            torch.manual_seed(int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:4], "little"))
            world.readouts[key] = Readout(world.settings, signals).to(world.device)
        fresh.append(key)
    return fresh


def readout_tensors(world: World, optimizers: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Everything to save: weights, and the state of each readout's optimiser."""
    found: dict[str, Tensor] = {}
    for number, (key, readout) in enumerate(world.readouts.items()):
        found |= {f"{number}/weights/{name}": tensor for name, tensor in readout.state_dict().items()}
        found |= {f"{number}/optimizer/{name}": tensor for name, tensor in optimizers.get(key, {}).items()}
    return found


def optimizer_tensors(folder: WorldFolder, key: str) -> dict[str, Tensor]:
    """The saved state of a readout's optimiser; empty where there is none."""
    record = folder.checkpoint.state.get(READOUTS, {})
    if key not in record:
        return {}
    return _below(f"{[*record].index(key)}/optimizer/", folder.checkpoint.read(READOUTS))


def readout_record(world: World) -> dict[str, Any]:
    """What the manifest says of them: the kind of each signal and its error (mean squared error over variance)."""
    return {
        key: {"signals": readout.signals, "error": dict(zip(readout.signals, readout.error.tolist(), strict=True))}
        for key, readout in world.readouts.items()
    }


def _signals(instance: Instance) -> dict[str, str]:
    """Kinds by name. The simulator's reward is left out: instances that share a readout may differ in it."""
    return {signal.name: signal.kind for signal in instance.signals if signal.name != REWARD.name}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}
