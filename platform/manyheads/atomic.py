"""Writes that happen wholly or not at all, and checked reading, with errors that name the file."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from manyheads.errors import ManyheadsError

T = TypeVar("T")


def write(path: Path, fill: Callable[[Path], None]) -> None:
    """Lets `fill` write a neighbour of `path`, makes it durable, and renames it over `path`.

    The neighbour has a name that no other writer uses, and is locked: one that a killed process left is deleted by the
    next writer. Raises ManyheadsError when the disk refuses; whatever was at `path` is then untouched.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        delete_abandoned_parts(path.parent)
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            mode = os.fstat(handle).st_mode
            fill(part)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.chmod(mode & 0o777)  # as the user's umask says, whatever `fill` made of it
            part.replace(path)
        finally:
            os.close(handle)
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
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ManyheadsError(f"{path} can't be read: {error}. Was it edited or cut short?") from None


def read_model(
    path: Path, model: type[T], known_format: int, upgrade: Callable[[dict[str, Any]], dict[str, Any]] | None = None
) -> T:
    """Reads a JSON object with a `format` as a pydantic model; `upgrade` rewrites older ones before they are checked.

    Raises ManyheadsError naming file and key where it is missing, damaged or newer.
    """
    values = read_json(path)
    check_format(path, values, known_format)
    if upgrade is not None:
        try:
            values = upgrade(values)
        except (KeyError, TypeError, AttributeError) as error:
            raise ManyheadsError(f"{path} is damaged or was edited: {error!r}. Restore it from a copy.") from None
    return check(path, values, model)


def check(path: Path, values: object, model: type[T], advice: str = "Restore it from a copy.") -> T:
    """JSON-able values as a pydantic type, strictly; what is wrong is a ManyheadsError with file and key."""
    try:
        return TypeAdapter(model).validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"])) or "the whole"
        raise ManyheadsError(f"{path} is damaged or was edited: {key}: {problem['msg']}. {advice}") from None


def check_format(path: Path, values: object, known: int) -> None:
    """Refuses a file whose `format` is newer than the `known` one, or that has none."""
    found = values.get("format") if isinstance(values, dict) else None
    if type(found) is not int or found < 1:
        raise ManyheadsError(f"{path} has no valid `format`; it is damaged. Restore it from a copy.")
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


def delete_abandoned_parts(folder: Path) -> None:
    """Deletes parts in a folder that no process is writing any more."""
    for part in folder.glob(".*.part"):
        with suppress(OSError), part.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()


def _text(part: Path, text: str) -> None:
    part.write_text(text, encoding="utf-8")
