"""The replay's folder: who may write to it, which format it has, which streams lie in it."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict

from manyheads import atomic
from manyheads.errors import ManyheadsError
from manyheads.experience.latent_table import LatentLayout

FORMAT = 3
FILE = "replay.json"


class Header(BaseModel):
    """`replay.json`: how the side tables of latents are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    latent: LatentLayout


def lock_folder(folder: Path) -> IO[str]:
    """Makes the folder and keeps other processes from writing to it for as long as the file returned is open."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise ManyheadsError(
            f"Could not write to {folder}: {error.strerror}. Let this user write there, or work on a copy of the world."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ManyheadsError(f"{folder} is in use by another process that writes to it. Stop that one first.") from None
    return lock


def check_header(folder: Path, latent: LatentLayout, read_only: bool) -> bool:
    """Checks the format; returns whether the latents can be read.

    Latents of another size or an older format can't: they are deleted, and recomputed where they are needed.
    """
    path = folder / FILE
    if path.exists():
        found = atomic.read_model(path, Header, FORMAT)
        if found.latent == latent and found.format == FORMAT:
            return True
    if not read_only:
        for table in folder.glob("stream-*/*.latents"):
            table.unlink()
        atomic.write_json(path, Header(latent=latent).model_dump(mode="json"))
    return not read_only


def stream_folders(folder: Path, read_only: bool) -> Iterator[tuple[int, Path]]:
    """Number and folder of each stream; a folder that a crash left before its first row is removed."""
    for path in sorted(folder.glob("stream-*")):
        number = path.name.removeprefix("stream-")
        if not number.isdecimal():
            raise ManyheadsError(f"{path} is not a name of a stream: expected stream-NUMBER. Move it away.")
        if (path / "stream.json").exists():
            yield int(number), path
        elif any(path.glob("*.rows")):
            raise ManyheadsError(f"{path / 'stream.json'} is missing. Restore it from a copy, or delete {path}.")
        elif not read_only:
            shutil.rmtree(path)
