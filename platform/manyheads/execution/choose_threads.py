"""How many CPU threads are fastest now: measured, for a machine that does other work is fastest with fewer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

import torch

from manyheads.execution.threads import num_threads

ROUNDS = 5
"""stretches of work for each number of threads, in turn"""
SECONDS = 0.06
"""of one stretch"""
CLEARLY = 1.25
"""by what factor another number must be faster, to be worth compiling again"""
WINDOW = 20
"""updates whose median is compared"""
SLOWER = 1.5
"""by what factor updates are slower when a new measurement is due"""
PATIENCE = 120.0
"""seconds between two measurements"""


def speeds(candidates: Sequence[int], clock: Callable[[], float] = time.perf_counter) -> dict[int, float]:
    """Repetitions a second of a small product and what follows it, with each number of threads."""
    x, w = torch.randn(512, 512), torch.randn(512, 512)
    found: dict[int, list[float]] = {count: [] for count in candidates}
    for _ in range(ROUNDS):
        for count in candidates:
            with num_threads(count):
                begun, done = clock(), 0
                while (passed := clock() - begun) < SECONDS or not done:
                    torch.nn.functional.silu(x @ w).mean(-1)
                    done += 1
                found[count].append(done / max(passed, 1e-9))
    return {count: median(each) for count, each in found.items()}


def fastest_threads(
    most: int, now: int | None = None, measure: Callable[[Sequence[int]], dict[int, float]] = speeds
) -> int:
    """The fastest number of threads up to `most`; `now` stays unless another is clearly faster."""
    candidates = sorted({1, max(1, most // 2), most})
    if len(candidates) == 1:
        return candidates[0]
    rates = measure(candidates)
    best = max(rates, key=lambda count: rates[count])
    if now is not None and (now not in rates or rates[best] < CLEARLY * rates[now]):
        return now
    return best


class ThreadWatch:
    """Notices that updates became slower, and asks then whether another number of threads is faster now."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most, self._clock = most, clock
        self._times: list[float] = []
        self._usual: float | None = None
        self._measured = clock()

    def better(self, seconds: float, now: int) -> int:
        """The number of threads to continue with after an update that took so long, `now` being in use."""
        self._times = [*self._times[1 - WINDOW :], seconds]
        if self.most < 2 or len(self._times) < WINDOW or self._clock() - self._measured < PATIENCE:
            return now
        middle = median(self._times)
        if self._usual is None or middle < self._usual:
            self._usual = middle
        if middle < SLOWER * self._usual and now == self.most:
            return now
        self._measured, self._times = self._clock(), []
        chosen = fastest_threads(self.most, now)
        if chosen != now:
            self._usual = None
        return chosen


class ThreadChoice:
    """The number of CPU threads while something trains, and as it was before once that is over.

    `asked` is a number, or 0 for as many as are fastest now, up to what torch was started with; `before` is what an
    earlier run had, which stays unless another number is clearly faster.
    """

    def __init__(self, asked: int, device: str, before: int | None = None) -> None:
        self._most = torch.get_num_threads()
        self._watch: ThreadWatch | None = None
        if asked:
            torch.set_num_threads(asked)
        elif device == "cpu" and self._most > 1:
            torch.set_num_threads(fastest_threads(self._most, before))
            self._watch = ThreadWatch(self._most)

    def changed(self, seconds: float) -> str:
        """Takes another number where an update that took so long says so; in words what has changed, else empty."""
        now = torch.get_num_threads()
        better = now if self._watch is None else self._watch.better(seconds, now)
        if better == now:
            return ""
        torch.set_num_threads(better)
        return f"{better} CPU thread{'s are' if better > 1 else ' is'} faster than {now} now: continuing with that."

    def restore(self) -> None:
        """As many as before."""
        torch.set_num_threads(self._most)
