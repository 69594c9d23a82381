"""Records on disk: append-only files of them, and a side table of latents for each."""

from __future__ import annotations

import mmap
import os
import resource
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from manyheads.errors import ManyheadsError
from manyheads.experience.records import Records, checksums

MODE = 0o666
"""of new files, less the user's umask"""


class MapPool:
    """Memory maps of files, the most recently used ones kept open: each of them holds a file descriptor."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit or min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._maps: OrderedDict[str, Records] = OrderedDict()

    def map(self, path: str, record: np.dtype[Any], count: int, writable: bool = False) -> Records:
        """The first `count` records of a file."""
        found = self._maps.get(path)
        if found is None:
            with open(path, "r+b" if writable else "rb", buffering=0) as file:  # noqa: PTH123
                access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
                mapped = mmap.mmap(file.fileno(), count * record.itemsize, access=access)
            found = self._maps[path] = np.frombuffer(mapped, record, count)
            if len(self._maps) > self.limit:
                self._maps.popitem(last=False)
        else:
            self._maps.move_to_end(path)
        return found

    def forget(self, path: str) -> None:
        self._maps.pop(path, None)


class Chunk:
    """Successive rows of one stream and their latents, in a pair of files or (without a path) in memory.

    A chunk is `growing` up to `size` rows, in a buffer that every row is written through to the file. Once sealed it
    is read through memory maps; a chunk that was sealed before it was full can continue growing.
    """

    def __init__(
        self,
        path: Path | None,
        serial: int,
        start: int,
        record: np.dtype[Any],
        latent: np.dtype[Any],
        pool: MapPool,
    ) -> None:
        self.path, self.serial, self.start = path, serial, start
        self.record, self.latent, self.pool = record, latent, pool
        self.count = self.size = 0
        self.growing = self.writable = False
        self._latents_path = "" if path is None else str(path.with_suffix(".latents"))
        self._file: int | None = None
        self._rows: Records | None = None
        self._latents: Records | None = None

    def create(self, size: int) -> Chunk:
        """Makes the files and room for `size` rows."""
        self.writable = True
        self._grow(size, os.O_CREAT | os.O_EXCL)
        return self

    def open_existing(self, count: int, writable: bool, latents: bool = True) -> Chunk:
        """Reads the `count` rows that the file holds; `latents` says whether the side table can be read."""
        self.count = self.size = count
        self.writable = writable
        size = count * self.latent.itemsize
        if writable:
            _reserve(self._latents_path, size)
            os.truncate(self._latents_path, size)
        elif not latents or not os.path.exists(self._latents_path) or os.path.getsize(self._latents_path) < size:  # noqa: PTH110, PTH202
            self._latents = np.zeros(count, self.latent)
        return self

    def reopen(self, size: int) -> None:
        """Continues growing, up to `size` rows."""
        self._grow(size, 0)

    def _grow(self, size: int, flags: int) -> None:
        rows = np.zeros(size, self.record)
        if self.count:
            rows[: self.count] = self.rows
        if self.path is None:
            latents = np.zeros(size, self.latent)
            if self._latents is not None:
                latents[: self.count] = self._latents[: self.count]
            self._latents = latents
        else:
            try:
                self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | flags, MODE)
            except OSError as error:
                raise ManyheadsError(f"Could not write to {self.path}: {error.strerror}.") from error
            self._forget_maps()
            _reserve(self._latents_path, size * self.latent.itemsize)
        self._rows, self.size, self.growing = rows, size, True

    @property
    def stop(self) -> int:
        return self.start + self.count

    @property
    def num_bytes(self) -> int:
        """Bytes that the rows and their latents take."""
        return self.count * (self.record.itemsize + self.latent.itemsize)

    @property
    def rows(self) -> Records:
        """The records so far, not to be written to."""
        if self._rows is not None:
            return self._rows[: self.count]
        return self.pool.map(str(self.path), self.record, self.count)

    @property
    def latents(self) -> Records:
        """The latents of these rows, which may be written to."""
        if self._latents is not None:
            return self._latents[: self.count]
        return self.pool.map(self._latents_path, self.latent, self.size, self.writable)[: self.count]

    def append(self, record: np.void, latent: Records | None) -> None:
        """Adds one record; when this returns the row outlives the process."""
        assert self._rows is not None
        if self._file is not None:
            self._write(self._file, record.tobytes())
        self._rows[self.count] = record
        self.count += 1
        if latent is not None:
            self.latents[-1] = latent
        if self.count == self.size:
            self.seal()

    def replace_newest(self, record: np.void) -> None:
        """Replaces the newest row, in one write; nothing else in the file changes."""
        if self.path is not None:
            self._write_at((self.count - 1) * self.record.itemsize, record.tobytes())
        if self._rows is not None:
            self._rows[self.count - 1] = record

    def _write(self, file: int, data: bytes) -> None:
        reason = "the disk is full"
        try:
            if os.write(file, data) == len(data):
                return
        except OSError as error:
            reason = error.strerror or str(error)
        os.ftruncate(file, self.count * self.record.itemsize)
        raise ManyheadsError(
            f"Could not write a row to {self.path}: {reason}. The {self.count} rows before it are kept; "
            "make room and start again."
        )

    def _write_at(self, offset: int, data: bytes) -> None:
        assert self.path is not None
        try:
            file = os.open(self.path, os.O_WRONLY)
            try:
                os.pwrite(file, data, offset)
            finally:
                os.close(file)
        except OSError as error:
            raise ManyheadsError(f"Could not write to {self.path}: {error.strerror}.") from error

    def sync(self) -> None:
        """Waits until the rows are on the disk itself."""
        if self._file is not None:
            os.fsync(self._file)

    def seal(self) -> None:
        """Ends growing: of a file, the buffer is given up for a memory map, and room that no row took for nothing."""
        self.growing = False
        if self._file is None:
            return
        os.fsync(self._file)
        os.close(self._file)
        self._file = self._rows = None
        self._forget_maps()
        self.size = self.count
        os.truncate(self._latents_path, self.count * self.latent.itemsize)

    def remove(self) -> None:
        """Deletes the files."""
        self.seal()
        if self.path is not None:
            self._forget_maps()
            self.path.unlink(missing_ok=True)
            Path(self._latents_path).unlink(missing_ok=True)

    def _forget_maps(self) -> None:
        self.pool.forget(str(self.path))
        self.pool.forget(self._latents_path)


def sound_rows(path: Path, record: np.dtype[Any], newest: bool) -> tuple[int, int]:
    """How many whole rows a file holds, and how many torn bytes lie behind them.

    Only the tail of a stream's newest file may be torn; any other damage is a ManyheadsError.
    """
    size = path.stat().st_size
    whole = size // record.itemsize
    if not whole:
        return 0, size
    rows = np.memmap(path, record, "r", shape=(whole,)).view(np.ndarray)
    width, checks = record.itemsize, rows["check"].tolist()
    good = [found == check for found, check in zip(checksums(rows), checks, strict=True)]
    if all(good) and (newest or whole * width == size):
        return whole, size - whole * width
    broken = good.index(False) if False in good else whole
    if not newest or any(good[broken:]):
        raise ManyheadsError(
            f"{path} is damaged at row {broken}: its checksum does not fit. Restore the file from a copy, "
            f"or delete the folder {path.parent} to continue without its rows."
        )
    return broken, size - broken * width


def _reserve(path: str, size: int) -> None:
    """Makes the file that long, zeros where new: a memory map of it can then not run out of disk."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, MODE)
        try:
            os.posix_fallocate(handle, 0, size)
        finally:
            os.close(handle)
    except OSError as error:
        raise ManyheadsError(f"Could not make {path}: {error.strerror}. Make room and start again.") from error
