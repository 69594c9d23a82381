"""Policies' weights in Ray's object store: as arrays, which processes of a node read where they lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import RayError

from manyheads import Head
from manyheads.training import PolicySnapshot, World
from manyheads_ray.cluster import in_words


class Weights:
    """Puts the weights of a world and its heads into the object store, once for each number of updates."""

    def __init__(self, world: World, heads: Mapping[str, Head]) -> None:
        self._world, self._heads = world, heads
        self._put: tuple[int, Any] | None = None

    def at(self, updates: int) -> Any:
        """The reference of the weights as they are after so many updates."""
        if self._put is None or self._put[0] != updates:
            snapshot = _mapped(PolicySnapshot.of(self._world, self._heads, updates), lambda x: x.numpy())
            try:
                self._put = updates, ray.put(snapshot)
            except RayError as error:
                raise in_words(error, "a policy's weights") from error
        return self._put[1]


def received(snapshot: PolicySnapshot) -> PolicySnapshot:
    """Weights from the object store, where nothing may be written, as tensors."""
    return _mapped(snapshot, lambda x: torch.from_numpy(np.array(x)))


def _mapped(snapshot: PolicySnapshot, change: Callable[[Any], Any]) -> PolicySnapshot:
    def own(weights: Mapping[str, Any]) -> dict[str, Any]:
        return {name: change(x) for name, x in weights.items()}

    heads = {name: own(weights) for name, weights in snapshot.heads.items()}
    readouts = {key: own(weights) for key, weights in snapshot.readouts.items()}
    return PolicySnapshot(snapshot.version, own(snapshot.world), heads, readouts)
