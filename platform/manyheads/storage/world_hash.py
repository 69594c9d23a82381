"""Which world a head belongs to: a hash of the world model's weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from torch import Tensor, uint8


def world_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and numbers of a world model's tensors (`World.state_dict`, or the set `world`
    of a checkpoint). Training the world changes it, training heads does not."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(uint8).numpy().tobytes())
    return found.hexdigest()
