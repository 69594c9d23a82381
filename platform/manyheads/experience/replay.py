"""Replay: exact rows of experience from many streams, read in batches of windows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.experience.batch import Batch, WindowIndex
from manyheads.experience.chunk import MapPool
from manyheads.experience.latent_table import Floats, LatentLayout, PackedLatents
from manyheads.experience.recorded_episode import Episode
from manyheads.experience.records import RecordFormat, Rows, record_type
from manyheads.experience.replay_folder import check_header, lock_folder, stream_folders
from manyheads.experience.stream import RecordedInstance, Stream, read_sidecar
from manyheads.experience.windows import Window, draw, gather, most_pictured, shares
from manyheads.run_states import ReplayState

CHUNK_ROWS = 4096
CHUNK_BYTES = 4 << 20
LARGEST = np.finfo(np.float32).max
UNSOUND = "Is the environment sound?"
CAUSES = {"vector": UNSOUND, "action": "Did learning diverge?"}


class SignalRows(NamedTuple):
    """T rows of a stream from row `start` on: signals (T, S) in the instance's order, and `is_first` (T,)."""

    start: int
    instance: RecordedInstance
    signals: npt.NDArray[np.float64]
    is_first: npt.NDArray[np.bool_]


class Replay:
    """Rows of all streams under one interface, in `folder` or (None) in memory: a `ReplaySink` and a `ReplaySource`.

    Every row is on disk when `add` returns, in the entries that its environment has. Beyond `capacity_rows` or
    `capacity_bytes` whole chunks of the oldest rows are dropped. Windows for training are drawn uniformly from all that
    lie within one stream, after those of rows that no batch has held yet (the online queue). Only one process may hold
    a folder open for writing; with `read_only` nothing in it is changed.
    """

    def __init__(
        self,
        folder: Path | None,
        interface: SpaceLayout,
        latent: LatentLayout,
        capacity_rows: int = 5_000_000,
        capacity_bytes: int | None = None,
        seed: int = 0,
        read_only: bool = False,
    ) -> None:
        self.folder, self.interface, self.latent = folder, interface, latent
        self.capacity_rows, self.capacity_bytes, self.read_only = capacity_rows, capacity_bytes, read_only
        self._vector, self._action = len(interface.vector), interface.action_size
        self.instances: list[RecordedInstance] = []
        """every instance seen, in the order that `Batch.instance` counts them; one whose signals or layout have
        changed since is counted as a new one"""
        self.repairs: list[str] = []
        """what was repaired on opening, in words"""
        self.world_id: int | None = None
        """the number of the frozen world whose latents are written and read; None for a world in training"""
        self.rows = self.bytes = 0
        self._streams: dict[int, Stream] = {}
        self._formats: dict[tuple[SpaceLayout, int], RecordFormat] = {}
        """by layout and number of signals"""
        self._pool = MapPool()
        self._generator = np.random.default_rng(seed)
        self._next_stream = self._next_serial = self._next_episode = 0
        self._lock: IO[str] | None = None
        if folder is not None:
            self._open(folder)

    # streams and rows

    def open_stream(self, instance: RecordedInstance) -> int:
        """A new stream for rows of that instance; returns its number."""
        self._check_writable()
        number = self._next_stream
        self._next_stream += 1
        folder = None if self.folder is None else self.folder / f"stream-{number:05d}"
        stream = self._stream(number, instance, self.interface.naming(instance.layout), folder)
        self._streams[number] = stream.create()
        self._register_instance(stream)
        return number

    def close_stream(self, number: int) -> None:
        """Nothing more is added to the stream for now."""
        self._streams[number].seal()

    def instance(self, stream: int) -> RecordedInstance:
        """What the stream holds rows of."""
        return self._streams[stream].instance

    def stop(self, stream: int) -> int | None:
        """The number that the stream's next row gets; None where all of it was dropped."""
        found = self._streams.get(stream)
        return None if found is None else found.stop

    def new_episode(self) -> int:
        """A number that no other episode of this replay has, nor any that rows were added with."""
        self._next_episode += 1
        return self._next_episode - 1

    def add(self, streams: Sequence[int], rows: Rows, deter: Any = None, stoch: Any = None) -> None:
        """Adds one row to each of N streams, with the latents (N, D) and (N, G, C) after seeing it, if known.

        Raises ManyheadsError where a number is not finite or the disk refuses; rows added before are kept.
        """
        self._check_writable()
        self._check(rows, len(streams))
        latents = None if deter is None else self.latent.encode(self.latent.pack(deter, stoch), self.world_id)
        alike: dict[RecordFormat, list[int]] = {}
        for i, number in enumerate(streams):
            alike.setdefault(self._streams[number].format, []).append(i)
        packed = {i: row for own, at in alike.items() for i, row in zip(at, own.pack(rows, at), strict=True)}
        for i, number in enumerate(streams):
            stream = self._streams[number]
            if stream.append(packed[i], None if latents is None else latents[i], self._next_serial):
                self._next_serial += 1
            self.rows += 1
            self.bytes += stream.row_bytes
        self._next_episode = max(self._next_episode, *(number + 1 for number in rows.episode.tolist()))
        self._shrink()

    def end_episode(self, stream: int) -> None:
        """Marks the stream's newest row as the last of its episode, which is thereby truncated there."""
        self._check_writable()
        self._streams[stream].end_episode()

    # batches

    def num_windows(self, length: int, streams: Collection[int] | None = None) -> int:
        """How many windows of `length` rows could be drawn."""
        return sum(stream.num_windows(length) for stream in self._chosen(streams))

    def sample(
        self,
        batch: int,
        length: int,
        groups: Mapping[str, float] | None = None,
        streams: Collection[int] | None = None,
        online: bool = True,
        images: bool = True,
    ) -> tuple[Batch, WindowIndex]:
        """Draws `batch` windows of `length` rows; each starts from the latent and action of the row before.

        `groups` gives dynamics keys a share of the batch each; `streams` leaves out all others; without
        `online` the windows are drawn uniformly and the online queue stays as it is; without `images`, which are most
        of what is copied, the batch has none. Where part of the windows show pictures, `Batch.pictured` names them.
        """
        able = [s for s in self._chosen(streams) if s.num_windows(length)]
        chosen: list[Window] = []
        for members, count in shares(able, batch, groups, self._generator):
            chosen += draw(members, count, length, online, self._generator)
        if not chosen:
            raise ManyheadsError(
                f"Replay holds no {length} successive rows to draw from ({self.rows} rows in all). "
                "Collect more first, or draw shorter sequences."
            )
        pictures = most_pictured(able, batch, groups) if images else None
        return gather(chosen, length, self.interface, self.latent, self.instances, pictures)

    def write_latents(self, where: WindowIndex, latents: PackedLatents) -> None:
        """Stores the latents deter (B, T, D), stoch (B, T, G) of the rows of a batch; `latent.pack` makes them."""
        self._check_writable()
        records = self.latent.encode(latents, self.world_id)
        for number, start, own in zip(where.streams.tolist(), where.starts.tolist(), records, strict=True):
            if number in self._streams:
                self._streams[number].write_latents(start, own)

    def read_latents(self, where: WindowIndex) -> tuple[Floats, Floats]:
        """The stored latents deter (B, T, D), stoch (B, T, G, C) of the rows of a batch; zeros where missing."""
        records = np.zeros((len(where.starts), where.length), self.latent.record)
        for b, (number, start) in enumerate(zip(where.streams.tolist(), where.starts.tolist(), strict=True)):
            records[b] = self._streams[number].read_latents(start, start + where.length)
        return self.latent.decode(records)

    # whole episodes

    def newest_episode(self, stream: int) -> Episode | None:
        """The stream's newest episode whose beginning is still there."""
        found = self._streams[stream]
        return self._episode(found, len(found.episode_starts) - 1) if found.episode_starts else None

    def find_episode(self, stream: int, number: int) -> Episode | None:
        """The stream's episode of that number; None where its beginning is gone."""
        found = self._streams.get(stream)
        starts = [] if found is None else found.episode_starts
        at = next((at for at in reversed(range(len(starts))) if starts[at].episode == number), None)
        return None if found is None or at is None else self._episode(found, at)

    def stale_episodes(self) -> list[Episode]:
        """Episodes with a row whose latent is not exactly what the frozen world wrote, also those cut at capacity."""
        if self.world_id is None:
            raise ValueError("Only a frozen world has latents that can be stale: set `world_id` first.")
        stale = []
        for stream in self._streams.values():
            begins = [at.start for at in stream.episode_starts]
            own = [self._episode(stream, at) for at in range(len(begins))]
            if stream.chunks and stream.start < min(begins, default=stream.stop):
                number = int(stream.chunks[0].rows["episode"][0])
                rest = min(begins, default=stream.stop)
                own.insert(0, Episode(stream, self.interface, self.latent, number, stream.start, rest, not begins))
            for episode in own:
                records = stream.read_latents(episode.start, episode.stop)
                if not self.latent.written_by(records, self.world_id).all():
                    stale.append(episode)
        return stale

    def episodes(self, experience: str | None = None) -> list[Episode]:
        """All episodes whose beginning is still there, newest last, with those that have not ended."""
        found = [
            self._episode(stream, at)
            for stream in self._streams.values()
            if experience is None or stream.instance.dynamics_key == experience
            for at in range(len(stream.episode_starts))
        ]
        return sorted(found, key=lambda episode: episode.id)

    def signals(self, experience: str) -> dict[str, npt.NDArray[np.float64]]:
        """All rows' values of each signal that every instance with this experience key measures."""
        streams = [s for s in self._streams.values() if s.instance.dynamics_key == experience and s.stop > s.start]
        names = (
            [n for n in streams[0].instance.signals if all(n in s.instance.signals for s in streams)] if streams else []
        )
        tables = []
        for stream in streams:
            table = np.zeros((stream.stop - stream.start, len(stream.instance.signals)))
            stream.read("signals", stream.start, stream.stop, table)
            tables.append(table[:, [stream.instance.signals.index(name) for name in names]])
        return dict(zip(names, np.concatenate(tables).T, strict=True)) if names else {}

    def signal_rows(self, stream: int, start: int, limit: int) -> SignalRows:
        """At most `limit` rows of a stream from row `start` on, or from the first one that is still there."""
        found = self._streams[stream]
        start = max(start, found.start)
        stop = max(start, min(found.stop, start + limit))
        signals = np.zeros((stop - start, len(found.instance.signals)))
        is_first = np.zeros(stop - start, np.bool_)
        if start < stop:
            found.read("signals", start, stop, signals)
            found.read("is_first", start, stop, is_first)
        return SignalRows(start, found.instance, signals, is_first)

    # saving and resuming

    def flush(self) -> None:
        """Waits until all rows are on the disk itself."""
        for stream in self._streams.values():
            if stream.chunks:
                stream.chunks[-1].sync()

    def state(self) -> dict[str, Any]:
        """JSON-able: all that sampling depends on beyond the rows and latents; see `ReplayState`."""
        return {
            "generator": self._generator.bit_generator.state,
            "served": {str(stream.number): stream.served for stream in self._streams.values()},
            "episode": self._next_episode,
            "stops": {str(stream.number): stream.stop for stream in self._streams.values()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues from `state`; rows added after it was taken are kept and count as not yet drawn."""
        saved = ReplayState.model_validate(state)
        self._generator.bit_generator.state = saved.generator.model_dump()
        self._next_episode = max(self._next_episode, saved.episode)
        for stream in self._streams.values():
            stream.served = saved.served.get(str(stream.number), stream.start)

    def missing(self, states: Collection[Mapping[str, Any]]) -> list[str]:
        """In words, which rows are not there that were when the newest of `states` was taken."""
        saved = [ReplayState.model_validate(state) for state in states]
        newest = max((state.episode for state in saved), default=0)  # numbers of episodes only grow
        counted = [state.stops for state in saved if state.episode == newest]
        notes = []
        for number, stream in self._streams.items():
            missing = max((stops.get(str(number), 0) for stops in counted), default=0) - stream.stop
            if missing > 0:
                notes.append(
                    f"{stream.folder or f'Stream {number}'} holds {missing} rows less than when the checkpoint was "
                    "written: its newest file was cut short. Restore it from a copy, or continue without them."
                )
        return notes

    def room(self, signals: int) -> int:
        """How many rows with so many signals are kept at least, whatever entries their environments have."""
        size = self._row_bytes(self.interface, signals)
        return min(self.capacity_rows, (self.capacity_bytes or size * self.capacity_rows) // size)

    def close(self) -> None:
        """Ends writing and lets another process open the folder."""
        for stream in self._streams.values():
            stream.seal()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _episode(self, stream: Stream, at: int) -> Episode:
        newest = at == len(stream.episode_starts) - 1
        stop = stream.stop if newest else stream.episode_starts[at + 1].start
        number, start = stream.episode_starts[at]
        return Episode(stream, self.interface, self.latent, number, start, stop, newest and stream.has_open_episode)

    def _chosen(self, numbers: Collection[int] | None) -> list[Stream]:
        if numbers is None:
            return list(self._streams.values())
        return [self._streams[number] for number in sorted(numbers) if number in self._streams]

    def _check_writable(self) -> None:
        if self.read_only:
            raise ManyheadsError(f"{self.folder} was opened for reading only.")

    def _check(self, rows: Rows, count: int) -> None:
        for name, values, size in (("vector", rows.vector, self._vector), ("action", rows.action, self._action)):
            if values.shape != (count, size):
                raise ValueError(f"{name} has shape {values.shape}, the interface needs {(count, size)}.")
            if not np.isfinite(values).all():
                raise ManyheadsError(f"A row's {name} is not finite; rows before it are kept. {CAUSES[name]}")
        if not (np.abs(rows.signals) <= LARGEST).all():  # batches hold float32
            raise ManyheadsError(f"A row's signals are not finite in float32; rows before it are kept. {UNSOUND}")
        if self.interface.image is not None and (rows.image is None or rows.image.shape[1:] != self.interface.image):
            raise ValueError(f"The interface needs images of shape {self.interface.image}.")

    def _register_instance(self, stream: Stream) -> None:
        """Lists the stream's instance, or lets the stream have the equal one that is listed already."""
        if stream.instance in self.instances:
            stream.instance = self.instances[self.instances.index(stream.instance)]
        else:
            self.instances.append(stream.instance)

    def _stream(self, number: int, instance: RecordedInstance, layout: SpaceLayout, folder: Path | None) -> Stream:
        """With records of that layout, in chunks so small that dropping one is a small part of the capacity."""
        row = self._row_bytes(layout, len(instance.signals))
        limits = [CHUNK_ROWS, CHUNK_BYTES // row, self.capacity_rows // 64]
        if self.capacity_bytes is not None:
            limits.append(self.capacity_bytes // (64 * row))
        size = max(16, min(limits))
        signals = len(instance.signals)
        format = self._formats.setdefault((layout, signals), RecordFormat(self.interface, layout, signals))
        return Stream(number, instance, format, self.latent, folder, self._pool, size)

    def _row_bytes(self, layout: SpaceLayout, signals: int) -> int:
        """Room that one row and its latent take."""
        return record_type(layout, signals).itemsize + self.latent.record.itemsize

    def _shrink(self) -> None:
        """Drops oldest chunks until what is left fits; the newest of a stream in use stays."""
        while self.rows > self.capacity_rows or self.bytes > (self.capacity_bytes or self.bytes):
            full = [s for s in self._streams.values() if len(s.chunks) > s.live]
            if not full:
                return
            stream = min(full, key=lambda s: s.chunks[0].serial)
            self.rows -= stream.chunks[0].count
            self.bytes -= stream.chunks[0].num_bytes
            stream.drop()
            if not stream.chunks:
                del self._streams[stream.number]

    def _open(self, folder: Path) -> None:
        if not self.read_only:
            self._lock = lock_folder(folder)
        latents = check_header(folder, self.latent, self.read_only)
        for number, path in stream_folders(folder, self.read_only):
            known = read_sidecar(path)
            stream = self._stream(number, known.instance, known.interface, path)
            self.repairs += stream.load(not self.read_only, latents)
            self._add_stream(stream)

    def _add_stream(self, stream: Stream) -> None:
        self._streams[stream.number] = stream
        self._register_instance(stream)
        self._next_stream = stream.number + 1
        for chunk in stream.chunks:
            self.rows += chunk.count
            self.bytes += chunk.num_bytes
            self._next_serial = max(self._next_serial, chunk.serial + 1)
            self._next_episode = max(self._next_episode, int(chunk.rows["episode"].max()) + 1)
