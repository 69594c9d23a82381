"""Seconds by part, taken from outside: methods are watched for a while and know nothing of it."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any


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
