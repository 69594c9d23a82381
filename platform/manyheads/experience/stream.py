"""A stream: one environment's successive rows of one instance, spread over chunks."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from manyheads import atomic
from manyheads.environment.contract import Instance
from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.experience.chunk import Chunk, MapPool, sound_rows
from manyheads.experience.latent_table import LatentLayout
from manyheads.experience.records import RecordFormat, Records, checksums, record_type

FORMAT = 2
FILE = "stream.json"


class RecordedInstance(BaseModel):
    """What replay remembers of an instance: its keys, the names of its signals in order, its own layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    dynamics_key: str
    signals: tuple[str, ...]
    layout: SpaceLayout

    @classmethod
    def of(cls, instance: Instance, layout: SpaceLayout) -> RecordedInstance:
        """`layout` is that of the instance's adapted environment."""
        names = tuple(signal.name for signal in instance.signals)
        return cls(key=instance.key, dynamics_key=instance.dynamics_key, signals=names, layout=layout)


class Sidecar(BaseModel):
    """The file in a stream's folder that describes how to read its rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    instance: RecordedInstance
    interface: SpaceLayout
    """the entries that its rows hold"""
    record: dict[str, tuple[str, int]]
    """type and offset of each field"""
    bytes: int
    """size of one record"""


def describe_record(record: np.dtype[Any]) -> dict[str, tuple[str, int]]:
    """Type and offset of each field of a record."""
    return {name: (str(kind[0]), kind[1]) for name, kind in (record.fields or {}).items()}


class EpisodeStart(NamedTuple):
    """Where an episode begins in a stream."""

    episode: int
    start: int


class Stream:
    """Rows `start` to `stop` of one environment; rows keep their numbers when older chunks are dropped."""

    def __init__(
        self,
        number: int,
        instance: RecordedInstance,
        format: RecordFormat,
        latent: LatentLayout,
        folder: Path | None,
        pool: MapPool,
        chunk_rows: int,
    ) -> None:
        self.number, self.instance, self.folder, self.pool = number, instance, folder, pool
        self.format, self.chunk_rows = format, chunk_rows
        self.latent = latent.record
        self.row_bytes = format.record.itemsize + self.latent.itemsize
        """room that one row and its latent take"""
        self.chunks: list[Chunk] = []
        self.episode_starts: list[EpisodeStart] = []
        self.served = 0
        """rows before this one have gone through the online queue"""
        self.live = False
        """rows are still being added"""
        self._between = True

    @property
    def start(self) -> int:
        return self.chunks[0].start if self.chunks else 0

    @property
    def stop(self) -> int:
        return self.chunks[-1].stop if self.chunks else 0

    @property
    def has_open_episode(self) -> bool:
        """Whether the newest row does not end its episode."""
        return not self._between

    def num_windows(self, length: int) -> int:
        """How many stretches of `length` rows there are."""
        return max(0, self.stop - self.start - length + 1)

    def num_unserved(self) -> int:
        """Rows that have not gone through the online queue."""
        return self.stop - max(self.served, self.start)

    # writing

    def create(self) -> Stream:
        """Makes the folder and its sidecar."""
        self.live = True
        if self.folder is not None:
            sidecar = Sidecar(
                instance=self.instance,
                interface=self.format.layout,
                record=describe_record(self.format.record),
                bytes=self.format.record.itemsize,
            )
            atomic.write_json(self.folder / FILE, sidecar.model_dump(mode="json"))
        return self

    def append(self, record: np.void, latent: Records | None, serial: int) -> bool:
        """Adds one record, in a new chunk if the newest one is full; returns whether it began one."""
        is_first = bool(record["is_first"])
        if is_first != self._between:
            raise ValueError(
                f"Stream {self.number}, row {self.stop}: `is_first` is {is_first} after `is_last` {self._between}."
            )
        self.live = True
        begins = not self.chunks or not (self.chunks[-1].growing or self.chunks[-1].count < self.chunk_rows)
        if begins:
            self.chunks.append(self._chunk(serial, self.stop).create(self.chunk_rows))
        newest = self.chunks[-1]
        if not newest.growing:
            newest.reopen(self.chunk_rows)
        newest.append(record, latent)
        if is_first:
            self.episode_starts.append(EpisodeStart(int(record["episode"]), self.stop - 1))
        self._between = bool(record["is_last"])
        return begins

    def end_episode(self) -> None:
        """Marks the newest row as the last of its episode, truncated there: its action led nowhere."""
        if self._between:
            return
        newest = self.chunks[-1]
        ended = newest.rows[-1:].copy()
        ended["is_last"] = True
        ended["check"] = checksums(ended)
        newest.replace_newest(ended[0])
        self._between = True

    def drop(self) -> None:
        """Deletes the oldest chunk; an episode that has lost its beginning is forgotten."""
        chunk = self.chunks.pop(0)
        chunk.remove()
        start = self.start if self.chunks else chunk.stop
        while self.episode_starts and self.episode_starts[0].start < start:
            self.episode_starts.pop(0)
        if not self.chunks and self.folder is not None:
            (self.folder / FILE).unlink()
            self.folder.rmdir()

    def seal(self) -> None:
        """Ends the growing chunk; nothing more is added for now."""
        self.live = False
        if self.chunks:
            self.chunks[-1].seal()

    # reading

    def parts(self, start: int, stop: int) -> Iterator[tuple[Chunk, slice, slice]]:
        """The chunks that hold rows `start` to `stop`: each with its rows and their place in the stretch."""
        if start < self.start or stop > self.stop:
            raise LookupError(f"Stream {self.number} holds rows {self.start} to {self.stop}, not {start} to {stop}.")
        at = bisect_right(self.chunks, start, key=lambda chunk: chunk.start) - 1
        row = start
        while row < stop:
            chunk = self.chunks[at]
            end = min(stop, chunk.stop)
            yield chunk, slice(row - chunk.start, end - chunk.start), slice(row - start, end - start)
            row, at = end, at + 1

    def read(self, field: str, start: int, stop: int, out: npt.NDArray[Any]) -> None:
        """Copies a field of rows `start` to `stop` into `out`, fitted to the world's interface."""
        for chunk, own, there in self.parts(start, stop):
            self.format.read(chunk.rows[own], field, out[there])

    def has(self, field: str) -> bool:
        """Whether the rows hold that field."""
        return field in (self.format.record.names or ())

    @property
    def shows_images(self) -> bool:
        """Whether its environment has images; the rows of one that has none hold no image, or a blank one."""
        return self.instance.layout.image is not None and self.has("image")

    def read_latents(self, start: int, stop: int) -> Records:
        """Copies of the stored latents of rows `start` to `stop`."""
        out = np.zeros(stop - start, self.latent)
        for chunk, own, there in self.parts(start, stop):
            out[there] = chunk.latents[own]
        return out

    def write_latents(self, start: int, latents: Records) -> None:
        """Replaces the latents of the rows from `start` on; rows dropped meanwhile are passed over."""
        begin, end = max(start, self.start), start + len(latents)
        if begin < end:
            for chunk, own, there in self.parts(begin, end):
                chunk.latents[own] = latents[begin - start :][there]

    def _chunk(self, serial: int, start: int) -> Chunk:
        path = None if self.folder is None else self.folder / f"{serial:08d}-{start:010d}.rows"
        return Chunk(path, serial, start, self.format.record, self.latent, self.pool)

    # opening

    def load(self, writable: bool, latents: bool) -> list[str]:
        """Opens the rows in the folder, and the `latents` if they can be read; returns repairs, in words."""
        assert self.folder is not None
        repairs = []
        files = sorted(self.folder.glob("*.rows"))
        for path in files:
            serial, start = _serial_and_start(path)
            count, torn = sound_rows(path, self.format.record, newest=path == files[-1])
            if torn:
                repairs.append(f"{path}: cut off {torn} bytes of a half-written row.")
                if writable:
                    os.truncate(path, count * self.format.record.itemsize)
            if self.chunks and start != self.stop:
                raise ManyheadsError(
                    f"{self.folder}: rows {self.stop} to {start} are missing. Restore the files from a copy, "
                    "or delete the folder to continue without its rows."
                )
            if count:
                self._add_chunk(self._chunk(serial, start).open_existing(count, writable, latents))
            elif writable:
                path.unlink()
        self.served = self.stop
        return repairs

    def _add_chunk(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        rows = chunk.rows
        for at in np.flatnonzero(rows["is_first"]).tolist():
            self.episode_starts.append(EpisodeStart(int(rows["episode"][at]), chunk.start + at))
        self._between = bool(rows["is_last"][-1])


def _serial_and_start(path: Path) -> tuple[int, int]:
    """The two numbers in the name of a file of rows."""
    found = re.fullmatch(r"(\d+)-(\d+)", path.stem)
    if not found:
        raise ManyheadsError(f"{path} is not a name of a file of rows: expected SERIAL-START.rows. Move it away.")
    return int(found[1]), int(found[2])


def _upgraded(values: dict[str, Any]) -> dict[str, Any]:
    """A sidecar of format 1 or 2 as format 2."""
    if values["format"] > 1 or not isinstance(values.get("instance"), dict):
        return values
    names = {"experience": "dynamics_key", "places": "layout"}
    instance = {names.get(key, key): value for key, value in values["instance"].items()}
    flags = {"first": "is_first", "last": "is_last", "terminal": "is_terminal"}
    record = {flags.get(key, key): value for key, value in values["record"].items()}
    return {**values, "format": 2, "instance": instance, "record": record}


def read_sidecar(folder: Path) -> Sidecar:
    """The stream's sidecar; raises ManyheadsError where a newer program wrote it or it is damaged."""
    path = folder / FILE
    sidecar = atomic.read_model(path, Sidecar, FORMAT, _upgraded)
    expected = record_type(sidecar.interface, len(sidecar.instance.signals))
    offsets = {name: offset for name, (_, offset) in sidecar.record.items()}
    if offsets != {name: offset for name, (_, offset) in describe_record(expected).items()} or (
        sidecar.bytes != expected.itemsize
    ):
        raise ManyheadsError(f"{path}: record: it does not fit its own interface and signals. Restore it from a copy.")
    return sidecar
