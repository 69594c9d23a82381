"""Batches on their way to the device that learns, and what updates give on their way back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from manyheads.environment.places import Places
from manyheads.experience.batch import Batch, Where
from manyheads.experience.latents import Packed
from manyheads.experience.replay import Replay
from manyheads.learning.labels import Labeller
from manyheads.learning.learner import HeadLabels
from manyheads.learning.numbers import Numbers
from manyheads.world.captured import map_tensors
from manyheads.world.model import Latent


class Work(NamedTuple):
    """What one update learns from."""

    batch: Batch
    labels: Mapping[str, HeadLabels]
    vector_mask: Tensor
    """(B, V) places that each sequence's instance has"""
    image_mask: Tensor
    """(B,)"""
    latents: Latent | None
    """(B, T) stored states, for heads that learn alone"""


class Draw:
    """Draws batches from replay with every task's labels; `frozen`: uniformly, with stored states."""

    def __init__(
        self, replay: Replay, interface: Places, labellers: Mapping[str, Labeller], size: tuple[int, int], frozen: bool
    ) -> None:
        self.replay, self.interface, self.labellers = replay, interface, labellers
        self.size, self.frozen = size, frozen

    def __call__(self) -> tuple[Work, Where]:
        """The next batch and where its windows lie."""
        batch, where = self.replay.sample(*self.size, online=not self.frozen, images=not self.frozen)
        labels = {name: labeller(batch) for name, labeller in self.labellers.items()}
        masks = [self.interface.mask(known.places) for known in self.replay.instances]
        vector = torch.stack([torch.from_numpy(mask.vector) for mask in masks]).float()
        image = torch.tensor([mask.image for mask in masks]).float()
        latents = None
        if self.frozen:
            latents = Latent(*(torch.from_numpy(part) for part in self.replay.read_latents(where)))
        return Work(batch, labels, vector[batch.instance], image[batch.instance], latents), where


class Learned(NamedTuple):
    """What is kept of an update."""

    numbers: Numbers
    latents: Packed | None
    """(B, T) posterior states before it; None on a frozen world"""


class At(NamedTuple):
    """When an update was made."""

    steps: int
    updates: int


class Sent(NamedTuple):
    """An update that the device may still be working on, its results on their way."""

    at: At
    where: Where
    learned: Learned
    arrived: torch.cuda.Event | None


class Feed:
    """Feeds `learn` from `draw`, and `keep` from `learn`.

    With `ahead`, as for a GPU, host and device do not wait for each other: the next batch is drawn while the device
    works, and results are kept one update later. Otherwise each update is done before the next batch is drawn.
    """

    def __init__(
        self,
        draw: Callable[[], tuple[Work, Where]],
        learn: Callable[[Work], Learned],
        keep: Callable[[At, Where, Learned], None],
        device: torch.device,
        ahead: bool,
    ) -> None:
        self._draw, self._learn, self._keep = draw, learn, keep
        self._device, self._ahead = device, ahead
        self._ready: tuple[Work, Where] | None = None
        self._sent: Sent | None = None

    def update(self, at: At) -> None:
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

    def _take(self, sent: Sent | None) -> None:
        if sent is not None:
            if sent.arrived is not None:
                sent.arrived.synchronize()
            self._keep(sent.at, sent.where, sent.learned)

    def _fetch(self) -> tuple[Work, Where]:
        work, where = self._draw()
        if self._device.type == "cpu":
            return work, where
        moved: Work = map_tensors(lambda x: x.contiguous().pin_memory().to(self._device, non_blocking=True), work)
        return moved, where

    def _send(self, at: At, where: Where, learned: Learned) -> Sent:
        if self._device.type == "cpu":
            return Sent(at, where, learned, None)
        held: Learned = map_tensors(_to_pinned, learned)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        return Sent(at, where, held, arrived)


def _to_pinned(x: Tensor) -> Tensor:
    """A copy in memory that the device writes to by itself; complete once the stream is there."""
    return torch.empty(x.shape, dtype=x.dtype, pin_memory=True).copy_(x, non_blocking=True)
