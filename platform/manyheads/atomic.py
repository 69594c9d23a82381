"""Writes that happen wholly or not at all, and checked reading, with errors that name the file."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from manyheads.errors import ManyheadsError

T = TypeVar("T")
MAX_JSON = 64_000_000
"""bytes of a JSON file that is read"""
MAX_LINE = 16_000_000
"""bytes of a line of a file of lines"""


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Lets `fill` write a neighbour of `path`, makes it durable, and renames it over `path`.

    The neighbour has a name that no other writer uses, and is locked: one that a killed process left is deleted by the
    next writer. Raises ManyheadsError when the disk refuses; whatever was at `path` is then untouched.
    """
    if not path.name or (path.exists() and not path.is_file()):
        raise ManyheadsError(f"Could not write {str(path)!r}: it is not a name of a file.")
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


def open_file(path: Path) -> IO[bytes]:
    """Opens a file or a pipe for reading; a folder, a device or what can't be opened is a ManyheadsError."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe that nobody writes to is empty, not waited for
    except (OSError, ValueError) as error:
        raise ManyheadsError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}.") from None
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
        os.close(handle)
        raise ManyheadsError(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'a device'}; expected a file.")
    os.set_blocking(handle, True)
    return open(handle, "rb")  # noqa: PTH123


def read_bytes(path: Path, limit: int = MAX_JSON, what: str = "file") -> bytes:
    """A file's content; raises ManyheadsError where it has more than `limit` bytes, of which no more are read."""
    with open_file(path) as file:
        try:
            content = file.read(limit + 1)
        except OSError as error:
            raise ManyheadsError(f"{path} can't be read: {error.strerror}.") from None
    if len(content) > limit:
        raise ManyheadsError(f"{path} is larger than {limit // 1000} kB; expected a {what}.")
    return content


def read_text(path: Path, limit: int = MAX_JSON, what: str = "file") -> str:
    """A file's text, of at most `limit` bytes in UTF-8; raises ManyheadsError that names the file."""
    try:
        return read_bytes(path, limit, what).decode()
    except UnicodeDecodeError:
        raise ManyheadsError(f"{path} is not UTF-8 text.") from None


def read_lines(path: Path, limit: int = MAX_LINE, start: int = 0) -> Iterator[bytes]:
    """Each line of a file from byte `start` on, without its end; a last line that has none was torn by a crash and is
    passed over."""
    with open_file(path) as file:
        file.seek(start)
        while (line := file.readline(limit)).endswith(b"\n"):
            yield line[:-1]
    if len(line) == limit:
        raise ManyheadsError(f"{path} has a line of more than {limit // 1000} kB; expected a file of short lines.")


def read_json(path: Path) -> Any:
    """Reads JSON; a half-written or missing file is a ManyheadsError that names it."""
    if not path.exists():
        raise ManyheadsError(f"{path} is missing.")
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
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
