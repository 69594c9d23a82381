"""Seconds by part, taken from outside: methods are watched for a while and know nothing of it."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Clock:
    """Adds up seconds by part.

    A part that runs inside another counts for itself alone: the seconds of all parts add up to those of the outermost.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inside: list[float] = []
        """seconds that parts inside have taken so far, for each part that runs"""

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What runs here belongs to the part `name`."""
        start = time.perf_counter()
        self._inside.append(0.0)
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            self.seconds[name] += seconds - self._inside.pop()
            if self._inside:
                self._inside[-1] += seconds

    @contextmanager
    def watching(self, methods: Iterable[tuple[type, str, str]]) -> Iterator[None]:
        """Meanwhile each call of a class's method, as in `(Replay, "sample", "sampling")`, is of that part."""
        before = [(owner, method, getattr(owner, method)) for owner, method, _ in methods]
        try:
            for (owner, method, function), (_, _, name) in zip(before, methods, strict=True):
                setattr(owner, method, self._timed(function, name))
            yield
        finally:
            for owner, method, function in before:
                setattr(owner, method, function)

    def _timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return function(*args, **kwargs)

        return timed


class DeviceClock(Clock):
    """Adds up, by part, the seconds in which a CUDA device does what methods ask it for, from their call on.

    Methods return before it has done so. What runs inside another part counts for both.
    """

    def __init__(self) -> None:
        super().__init__()
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        begin, end = device_event(), device_event()
        begin.record()
        yield
        end.record()
        self._events.append((name, begin, end))

    def read(self) -> None:
        """Waits for the device, and adds what it has done."""
        torch.cuda.synchronize()
        for name, begin, end in self._events:
            self.seconds[name] += begin.elapsed_time(end) / 1000
        self._events.clear()


def device_event(inside_graph: bool = False) -> torch.cuda.Event:
    """An event that tells the device's time."""
    return torch.cuda.Event(enable_timing=True, external=inside_graph)  # type: ignore[no-untyped-call]
