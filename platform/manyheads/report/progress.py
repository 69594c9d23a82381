"""Live progress of long work: a bar on a terminal, a plain line now and then elsewhere, JSON for programs."""

from __future__ import annotations

import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import Timer
from types import TracebackType
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from manyheads.report.text import formatted, plain

WINDOW = 60.0
"""seconds of the past that the rate is taken over, so that time left follows slow-downs and resumed work"""
SHORTEST = 0.5
"""seconds that say something about a rate"""
PLAIN_EVERY = 10.0
"""seconds between lines where there is no terminal"""
FORM = "MANYHEADS_PROGRESS"
"""the environment variable that asks for JSON lines: `MANYHEADS_PROGRESS=json`"""
JSON_EVERY = 0.5
"""seconds between them"""


class Progress:
    """`with Progress(1000, "training", unit="steps") as p: p.advance(10, numbers={"balance": 812.0})`.

    Resumed work passes what is done already as `start`; rate and time left count this run's work alone, from its first
    unit on: what had to start before it says nothing of the others.
    """

    def __init__(
        self,
        total: int,
        title: str,
        unit: str = "steps",
        start: int = 0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self.title = plain(title)
        self.unit = unit
        self.done = start
        self.numbers: dict[str, float] = {}
        self._console = console or Console(stderr=True)
        self._clock = clock
        self._marks: deque[tuple[float, int]] = deque()
        self._spoke = clock()
        self._bar: _Bar | None = None
        self._json = os.environ.get(FORM) == "json"
        self._every = JSON_EVERY if self._json else PLAIN_EVERY

    def __enter__(self) -> Progress:
        if self._console.is_terminal and not self._json:
            self._bar = _Bar(self, self._console)
            self._bar.start()
        else:
            self._console.print(Text(self._line()), soft_wrap=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.show()
            self._bar.stop()
        elif self._spoke != self._clock():
            self._console.print(Text(self._line()), soft_wrap=True)

    def advance(self, n: int = 1, numbers: Mapping[str, float] | None = None) -> None:
        """Counts `n` more units as done; `numbers` are the few latest values to show, kept until replaced."""
        now = self._clock()
        self.done += n
        self.numbers.update(numbers or {})
        self._marks.append((now, self.done))
        while len(self._marks) > 2 and now - self._marks[0][0] > WINDOW:
            self._marks.popleft()
        if self._bar is not None:
            self._bar.show()
        elif now - self._spoke >= self._every:
            self._spoke = now
            self._console.print(Text(self._line()), soft_wrap=True)

    def say(self, text: str) -> None:
        """Prints a line that stays, above the bar."""
        console = self._bar.console if self._bar is not None else self._console
        console.print(Text(plain(text)), soft_wrap=self._bar is None)

    @contextmanager
    def patience(self, text: str, seconds: float = 10.0) -> Iterator[None]:
        """Says `text` where the work inside takes longer than so many seconds; the rate leaves such work out."""
        timer = Timer(seconds, self.say, [text])
        timer.daemon = True
        began = self._clock()
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if self._clock() - began > seconds:
                self._marks = deque([(self._clock(), self.done)])

    @property
    def rate(self) -> float:
        """Units a second over the last minute of this run; 0 while nothing is known."""
        if not self._marks:
            return 0.0
        (then, before), now = self._marks[0], self._clock()
        return (self.done - before) / (now - then) if now - then >= SHORTEST else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end at the present rate, None while nothing is known."""
        return max(self.total - self.done, 0) / self.rate if self.rate > 0 else None

    def state(self) -> str:
        """`1,200 / 5,000 steps  ·  84.1/s  ·  45 s left`"""
        parts = [f"{self.done:,} / {self.total:,} {self.unit}"]
        if self.rate > 0:
            parts.append(f"{self.rate:,.0f}/s" if self.rate >= 100 else f"{self.rate:.3g}/s")
        if self.seconds_left is not None and self.done < self.total:
            parts.append(f"{duration(self.seconds_left)} left")
        return "  ·  ".join(parts)

    def latest(self) -> str:
        """`dmc/cartpole-balance 812  ·  loss 3.21`"""
        return "  ·  ".join(f"{plain(name)} {formatted(number, '.4g')}" for name, number in self.numbers.items())

    def record(self) -> dict[str, Any]:
        """Where the work stands, JSON-able: `progress` is what is done, `done` of `total` `unit`."""
        numbers = {name: value for name, value in self.numbers.items() if math.isfinite(value)}
        return {
            "progress": self.title,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "rate": self.rate,
            "seconds_left": self.seconds_left,
            "numbers": numbers,
        }

    def _line(self) -> str:
        if self._json:
            return json.dumps(self.record())
        return f"{self.title}: {self.state()}" + (f"  ·  {self.latest()}" if self.numbers else "")


class _Bar(Bar):
    """rich's progress bar with a second, dim line for the live numbers."""

    def __init__(self, progress: Progress, console: Console) -> None:
        super().__init__(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=32),
            TextColumn("{task.fields[state]}", markup=False),
            console=console,
            refresh_per_second=4,
        )
        self.progress = progress
        self.job = self.add_task(progress.title, total=progress.total, completed=progress.done, state=progress.state())

    def show(self) -> None:
        self.update(self.job, completed=self.progress.done, state=self.progress.state())

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.tasks and self.progress.numbers:
            yield Text(f"  {self.progress.latest()}", style="dim", no_wrap=True, overflow="ellipsis")


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 05 min`"""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
