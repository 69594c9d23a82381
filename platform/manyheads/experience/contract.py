"""What the collector and the learner need of whatever holds experience: a replay on disk, in memory, on a cluster."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from manyheads.experience.batch import Batch, WindowIndex
from manyheads.experience.latent_table import Floats, LatentLayout, PackedLatents
from manyheads.experience.recorded_episode import Episode
from manyheads.experience.records import Rows
from manyheads.experience.stream import RecordedInstance


class ReplaySink(Protocol):
    """Where collected rows go. Each environment writes to its own stream."""

    def open_stream(self, instance: RecordedInstance) -> int:
        """A new stream for rows of that instance; returns its number."""

    def new_episode(self) -> int:
        """A number that no other episode has; an episode's seed follows from it."""

    def add(self, streams: Sequence[int], rows: Rows, deter: Any = None, stoch: Any = None) -> None:
        """Adds one row to each of N streams, with the latents (N, D) and (N, G, C) after seeing it, if known."""

    def end_episode(self, stream: int) -> None:
        """Marks the stream's newest row as the last of its episode, which is thereby truncated there."""


class RecordedStreams(Protocol):
    """What resuming reads of the streams that were written before."""

    def stop(self, stream: int) -> int | None:
        """The number that the stream's next row gets; None where the stream is gone."""

    def instance(self, stream: int) -> RecordedInstance:
        """What the stream holds rows of."""

    def newest_episode(self, stream: int) -> Episode | None:
        """The stream's newest episode whose beginning is still there."""


class ReplaySource(Protocol):
    """Where batches come from, and where the latents of their rows are kept."""

    latent: LatentLayout

    @property
    def instances(self) -> Sequence[RecordedInstance]:
        """Every instance seen, in the order that `Batch.instance` counts them."""

    def sample(
        self,
        batch: int,
        length: int,
        groups: Mapping[str, float] | None = None,
        streams: Collection[int] | None = None,
        online: bool = True,
        images: bool = True,
    ) -> tuple[Batch, WindowIndex]:
        """`batch` windows of `length` successive rows, and where they lie."""

    def read_latents(self, where: WindowIndex) -> tuple[Floats, Floats]:
        """The stored latents deter (B, T, D), stoch (B, T, G, C) of the rows of a batch."""

    def write_latents(self, where: WindowIndex, latents: PackedLatents) -> None:
        """Stores the latents deter (B, T, D), stoch (B, T, G) of the rows of a batch."""
