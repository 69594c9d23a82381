"""Batches on their way to the device that learns, and what updates give on their way back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from manyheads.environment.layout import SpaceLayout
from manyheads.execution.trees import map_tensors
from manyheads.experience.batch import Batch, WindowIndex
from manyheads.experience.contract import ReplaySource
from manyheads.experience.latent_table import PackedLatents
from manyheads.experience.stream import RecordedInstance
from manyheads.learning.labels import Labeller
from manyheads.learning.learner import HeadLabels
from manyheads.learning.readouts import signal_rows
from manyheads.learning.update_metrics import UpdateMetrics
from manyheads.world.model import Latent
from manyheads.world.readout import Readout, SignalRows


class TrainingBatch(NamedTuple):
    """What one update learns from."""

    batch: Batch
    labels: Mapping[str, HeadLabels]
    vector_mask: Tensor
    """(B, V) entries that each sequence's instance has"""
    image_mask: Tensor
    """(B,)"""
    latents: Latent | None
    """(B, T) stored states, for heads that learn alone"""
    signals: Mapping[str, SignalRows]
    """what readouts learn from, by dynamics key"""


def environment_shares(
    instances: Sequence[RecordedInstance], weights: Mapping[str, float], only: str | None = None
) -> dict[str, float] | None:
    """The weight of each dynamics key in a batch: equal but for the `weights` of environments by name; that of one key
    `only`, where it is given. None where all rows are of one."""
    keys = dict.fromkeys(instance.dynamics_key for instance in instances)
    if len(keys) < 2:
        return None
    return {key: weights.get(key.partition(" ")[0], 1.0) if only in (None, key) else 0.0 for key in keys}


class BatchSampler:
    """Draws batches from replay with every task's labels; `frozen`: uniformly, with stored states."""

    def __init__(
        self,
        replay: ReplaySource,
        interface: SpaceLayout,
        labellers: Mapping[str, Labeller],
        size: tuple[int, int],
        frozen: bool,
        readouts: Mapping[str, Readout] = MappingProxyType({}),
        shares: Callable[[], Mapping[str, float] | None] = lambda: None,
    ) -> None:
        """`shares`: the weight of each dynamics key in a batch, asked before each; None: windows alike."""
        self.replay, self.interface, self.labellers = replay, interface, labellers
        self.size, self.frozen, self.readouts, self.shares = size, frozen, readouts, shares

    def __call__(self) -> tuple[TrainingBatch, WindowIndex]:
        """The next batch and where its windows lie."""
        batch, where = self.replay.sample(
            *self.size, groups=self.shares(), online=not self.frozen, images=not self.frozen
        )
        labels = {name: labeller(batch, where) for name, labeller in self.labellers.items()}
        layouts = [known.layout for known in self.replay.instances]
        vector = torch.from_numpy(self.interface.vector_masks(layouts)).float()
        image = torch.tensor([layout.image is not None for layout in layouts]).float()
        latents = None
        if self.frozen:
            latents = Latent(*(torch.from_numpy(part) for part in self.replay.read_latents(where)))
        signals = signal_rows(batch, self.replay.instances, self.readouts)
        return TrainingBatch(batch, labels, vector[batch.instance], image[batch.instance], latents, signals), where


class UpdateOutput(NamedTuple):
    """What is kept of an update."""

    numbers: UpdateMetrics
    latents: PackedLatents | None
    """(B, T) posterior states before it; None on a frozen world"""


class UpdateCount(NamedTuple):
    """When an update was made."""

    steps: int
    updates: int


class PendingUpdate(NamedTuple):
    """An update that the device may still be working on, its results on their way."""

    at: UpdateCount
    where: WindowIndex
    learned: UpdateOutput
    arrived: torch.cuda.Event | None


class Prefetcher:
    """Feeds `learn` from `draw`, and `keep` from `learn`.

    With `ahead`, as for a GPU, host and device do not wait for each other: the next batch is drawn while the device
    works, and results are kept one update later. Otherwise each update is done before the next batch is drawn.
    """

    def __init__(
        self,
        draw: Callable[[], tuple[TrainingBatch, WindowIndex]],
        learn: Callable[[TrainingBatch], UpdateOutput],
        keep: Callable[[UpdateCount, WindowIndex, UpdateOutput], None],
        device: torch.device,
        ahead: bool,
    ) -> None:
        self._draw, self._learn, self._keep = draw, learn, keep
        self._device, self._ahead = device, ahead
        self._ready: tuple[TrainingBatch, WindowIndex] | None = None
        self._sent: PendingUpdate | None = None

    def update(self, at: UpdateCount) -> None:
        """One update."""
        work, where = self._ready or self._fetch()
        self._ready = None
        before, self._sent = self._sent, self._send(at, where, self._learn(work))
        if self._ahead:
            self._ready = self._fetch()
            self._take(before)
        else:
            self.drain()

    def drain(self) -> None:
        """Waits until everything is kept."""
        sent, self._sent = self._sent, None
        self._take(sent)

    def _take(self, sent: PendingUpdate | None) -> None:
        if sent is not None:
            if sent.arrived is not None:
                sent.arrived.synchronize()
            self._keep(sent.at, sent.where, sent.learned)

    def _fetch(self) -> tuple[TrainingBatch, WindowIndex]:
        work, where = self._draw()
        if self._device.type == "cpu":
            return work, where
        moved = map_tensors(lambda x: x.contiguous().pin_memory().to(self._device, non_blocking=True), work)
        return moved, where

    def _send(self, at: UpdateCount, where: WindowIndex, learned: UpdateOutput) -> PendingUpdate:
        if self._device.type == "cpu":
            return PendingUpdate(at, where, learned, None)
        held = map_tensors(_to_pinned, learned)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        return PendingUpdate(at, where, held, arrived)


def _to_pinned(x: Tensor) -> Tensor:
    """A copy in memory that the device writes to by itself; complete once the stream is there."""
    return torch.empty(x.shape, dtype=x.dtype, pin_memory=True).copy_(x, non_blocking=True)
