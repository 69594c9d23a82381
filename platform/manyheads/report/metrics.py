"""Numbers over time: appended to `metrics.jsonl`, passed on to loggers, read back as one series a name.

Names are paths: `<task>/return` is an episode's return under the task's own reward, `<task>/<number>` a loss
or another number of that task's head, `world/<number>` one of the world model.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from manyheads.atomic import read_lines
from manyheads.errors import ManyheadsError

if TYPE_CHECKING:
    from manyheads.loggers import Logger

FILE = "metrics.jsonl"


class _Line(BaseModel):
    """A line of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    step: int = Field(ge=0)
    updates: int = Field(ge=0)
    time: float = Field(ge=0)
    numbers: dict[str, float | None]


_LINES = TypeAdapter(_Line)


@dataclass
class Series:
    """One named number over time; position i of each list belongs together."""

    step: list[int] = field(default_factory=list)
    updates: list[int] = field(default_factory=list)
    time: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    nonfinite: int = 0
    """how many values were NaN or infinite; they are left out of `value`"""

    def rewind(self, step: int, updates: int) -> None:
        """Forgets what lies after this point: a run that resumed from an older checkpoint writes it again."""
        while self.step and (self.step[-1], self.updates[-1]) > (step, updates):
            for values in (self.step, self.updates, self.time, self.value):
                values.pop()


class Metrics:
    """Appends numbers to a world folder's `metrics.jsonl` and writes them to a logger.

    The file is opened at the first number, when the run has locked the folder; a line that a crash tore is cut then.
    `time` in it counts seconds of work and continues across restarts: pauses don't show in curves.
    """

    def __init__(self, folder: Path | str, logger: Logger | None = None) -> None:
        self.path = Path(folder) / FILE
        self.nonfinite: Counter[str] = Counter()
        self._logger = logger
        self._opened = time.monotonic()
        self._worked = 0.0
        self._file = -1

    def write(self, step: int, updates: int, numbers: Mapping[str, Any]) -> None:
        """Appends one line; `numbers` are floats or one-element tensors.

        NaN and infinity are written as null and counted in `nonfinite`.
        """
        if self._file < 0:
            self._open()
        values = {name: float(number) for name, number in numbers.items()}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        self.nonfinite.update(bad)
        seconds = round(self._worked + time.monotonic() - self._opened, 3)
        finite: dict[str, float | None] = {**values, **dict.fromkeys(bad)}
        line = {"step": int(step), "updates": int(updates), "time": seconds, "numbers": finite}
        self._append(json.dumps(line, allow_nan=False).encode() + b"\n")
        if self._logger is not None:
            self._logger.write(int(step), int(updates), values)

    def close(self) -> None:
        """Closes the file and the logger; safe to call twice."""
        if self._logger is not None:
            self._logger.close()
            self._logger = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Metrics:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _cut_torn_tail(self.path)
        self._worked = _last_time(self.path)
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def _append(self, line: bytes) -> None:
        whole = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
        except OSError as error:
            raise ManyheadsError(f"Can't write {self.path}: {error.strerror}.") from error
        if written != len(line):
            os.ftruncate(self._file, whole)
            raise ManyheadsError(f"Can't write {self.path}: the disk is full. Free some space and start again.")


class Follower:
    """The metrics of a world folder while they grow: `update` reads what was added since the last time.

    Where a resumed run wrote a stretch again, the later lines stand. A torn last line waits for its end. A file that
    became shorter is another run's, and is read from its beginning.
    """

    def __init__(self, folder: Path | str) -> None:
        self.path = Path(folder) / FILE
        self.series: dict[str, Series] = {}
        """by name, in the order of first appearance"""
        self._offset = 0
        self._lines = 0

    def update(self) -> bool:
        """Reads what is new; whether there was anything. Raises ManyheadsError that names a damaged line."""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            size = 0
        if size < self._offset:
            self.series, self._offset, self._lines = {}, 0, 0
        if size == self._offset:
            return False
        before = self._lines
        for text in read_lines(self.path, start=self._offset):
            self._add(text, self._lines + 1)
            self._lines += 1
            self._offset += len(text) + 1
        return self._lines > before

    def _add(self, text: bytes, number: int) -> None:
        line = _line(self.path, f"line {number}", text)
        for name, value in line.numbers.items():
            one = self.series.setdefault(name, Series())
            one.rewind(line.step, line.updates)
            if value is None:
                one.nonfinite += 1
                continue
            one.step.append(line.step)
            one.updates.append(line.updates)
            one.time.append(line.time)
            one.value.append(value)


def read(folder: Path | str) -> dict[str, Series]:
    """All series of a world folder by name, in the order of first appearance; empty without a metrics file.

    Where a resumed run wrote a stretch again, the later lines stand. A torn last line is passed over.
    """
    follower = Follower(folder)
    follower.update()
    return follower.series


def thinned(one: Series, most: int = 400) -> Series:
    """At most `most` points of a long series, each the mean of the stretch that it stands for."""
    parts = np.array_split(np.arange(len(one.value)), min(most, len(one.value)) or 1)
    return Series(
        step=[one.step[part[-1]] for part in parts if len(part)],
        updates=[one.updates[part[-1]] for part in parts if len(part)],
        time=[one.time[part[-1]] for part in parts if len(part)],
        value=[float(np.mean(one.value[part[0] : part[-1] + 1])) for part in parts if len(part)],
        nonfinite=one.nonfinite,
    )


def _line(path: Path, where: str, text: bytes) -> _Line:
    """A line as it was written; raises ManyheadsError with file, line and key."""
    try:
        return _LINES.validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        key = "".join(f"{part}: " for part in problem["loc"])
        raise ManyheadsError(
            f"{path}, {where} is not a line of metrics: {key}{problem['msg']}. Delete it to continue."
        ) from None


def _cut_torn_tail(path: Path) -> None:
    """Cuts a last line that a crash left without its end."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)


def _last_time(path: Path) -> float:
    """Seconds of work in the last line; 0 without lines."""
    last = b""
    for line in read_lines(path) if path.exists() else ():
        last = line
    return _line(path, "the last line", last).time if last else 0.0
