"""The replay's folder: who may write to it, which format it has, which streams lie in it."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO

from manyheads import atomic
from manyheads.errors import ManyheadsError
from manyheads.experience.latent_table import LatentLayout

FORMAT = 2


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


def check_header(folder: Path, latent: LatentLayout, read_only: bool) -> None:
    """Checks the format; latents of another layout are deleted, as nothing can be made of them."""
    head = folder / "replay.json"
    wanted = {"format": FORMAT, "latent": asdict(latent)}
    if head.exists():
        values = atomic.read_json(head)
        atomic.check_format(head, values, FORMAT)
        if values.get("latent") == wanted["latent"]:
            return
        if read_only:
            raise ManyheadsError(f"The latents in {folder} are of another size than this world's.")
        for path in folder.glob("stream-*/*.latents"):
            path.unlink()
    if not read_only:
        atomic.write_json(head, wanted)


def stream_folders(folder: Path, read_only: bool) -> Iterator[tuple[int, Path]]:
    """Number and folder of each stream; a folder that a crash left before its first row is cleared away."""
    for path in sorted(folder.glob("stream-*")):
        if (path / "stream.json").exists():
            yield int(path.name.removeprefix("stream-")), path
        elif any(path.glob("*.rows")):
            raise ManyheadsError(f"{path / 'stream.json'} is missing. Restore it from a copy, or delete {path}.")
        elif not read_only:
            shutil.rmtree(path)
