"""Writes that happen wholly or not at all, with errors that name the file."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from manyheads.errors import ManyheadsError


def write(path: Path, fill: Callable[[Path], None]) -> None:
    """Lets `fill` write a neighbour of `path`, makes it durable, and renames it over `path`.

    Raises ManyheadsError when the disk refuses; whatever was at `path` is then untouched.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fill(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        reason = error.strerror or str(error)
        step = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose a place that can be written"
        raise ManyheadsError(
            f"Could not write {path}: {reason}. Nothing that was saved before is lost; {step} and start again."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Atomically writes UTF-8 text."""
    write(path, lambda part: _text(part, text))


def write_json(path: Path, value: object) -> None:
    """Atomically writes JSON; numbers must be finite."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads JSON; a half-written or missing file is a ManyheadsError that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManyheadsError(f"{path} is missing.") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ManyheadsError(f"{path} can't be read: {error}. Was it edited or cut short?") from None


def check_format(path: Path, values: object, known: int) -> None:
    """Refuses a file whose `format` is newer than the `known` one, or that says none."""
    found = values.get("format") if isinstance(values, dict) else None
    if not isinstance(found, int):
        raise ManyheadsError(f"{path} does not say its format; it is damaged. Restore it from a copy.")
    if found > known:
        raise ManyheadsError(
            f"{path} was written by a newer manyheads (format {found}, this one knows {known}). "
            "Upgrade with `pip install --upgrade manyheads`."
        )


def sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _text(part: Path, text: str) -> None:
    part.write_text(text, encoding="utf-8")
