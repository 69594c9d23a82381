"""Where an update's time goes: milliseconds by part, from outside of what is measured."""

from __future__ import annotations

import statistics
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn

from manyheads.cli.bench.clock import device_event
from manyheads.cli.bench.machine import timed
from manyheads.execution.eager import DryRun, Execution
from manyheads.learning.workload import SyntheticLearner

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=nn.Module)

PARTS = {
    "forward": "encoder",
    "steps": "scan, forward",
    "steps_backward": "scan, backward",
    "maps_backward": "scan, weights",
    "scaled_world_losses": "world losses",
    "step_into": "imagination",
    "imagine_policy_step": "imagination",
    "predict": "heads, predictions",
    "policy_with_gradients": "heads, policy",
    "value_with_gradients": "heads, value",
    "mean_losses": "heads, imagined rows",
    "replay_losses": "heads, replayed rows",
    "laprop": "optimizer",
}
"""which part of an update a compiled function belongs to"""


def _part(function: Callable[..., object]) -> str:
    return PARTS.get(function.__name__, function.__name__)


class Watch(Execution, ABC):
    """Runs regions as another execution does, and is told of each."""

    def __init__(self, inner: Execution) -> None:
        super().__init__(inner.compute_dtype)
        self.inner, self.compiled = inner, inner.compiled

    @abstractmethod
    def watched(self, part: str, run: Callable[P, R]) -> Callable[P, R]:
        """How to call a region of that part."""

    def compile(self, function: Callable[P, R]) -> Callable[P, R]:
        return self.watched(_part(function), self.inner.compile(function))

    def compile_loss(self, function: Callable[P, R]) -> Callable[P, R]:
        return self.watched(_part(function), self.inner.compile_loss(function))

    def compute_copy(self, module: M, stacked: int = 0) -> M:
        return self.inner.compute_copy(module, stacked)

    def scan_copy(self, module: M) -> M:
        return self.inner.scan_copy(module)

    def implementation(self, function: Callable[P, R]) -> Callable[P, R]:
        return self.inner.implementation(function)

    def warmup(self, key: object, dry_run: DryRun | None = None) -> AbstractContextManager[bool]:
        return self.inner.warmup(key)


class Stopwatch(Watch):
    """Adds up regions' seconds by part; one part after the other."""

    def __init__(self, inner: Execution) -> None:
        super().__init__(inner)
        self.seconds: dict[str, float] = defaultdict(float)

    def watched(self, part: str, run: Callable[P, R]) -> Callable[P, R]:
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            start = time.perf_counter()
            result = run(*args, **kwargs)
            self.seconds[part] += time.perf_counter() - start
            return result

        return call


class GraphWatch(Watch):
    """Puts events around regions into the captured graph: the device's own clock, nothing else in between."""

    def __init__(self, inner: Execution) -> None:
        super().__init__(inner)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._whole: Callable[..., Any] | None = None

    def watched(self, part: str, run: Callable[P, R]) -> Callable[P, R]:
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if not torch.cuda.is_current_stream_capturing():
                return run(*args, **kwargs)
            begin, end = device_event(inside_graph=True), device_event(inside_graph=True)
            begin.record()
            result = run(*args, **kwargs)
            end.record()
            self._events.append((part, begin, end))
            return result

        return call

    def capture(self, function: Callable[P, R], generators: Iterable[torch.Generator]) -> Callable[P, R]:
        self._whole = self._whole or self.watched("", function)  # one function, that it be captured once
        return self.inner.capture(self._whole, generators)

    def run_parallel(self, functions: Sequence[Callable[[], R]]) -> list[R]:
        return self.inner.run_parallel(functions)

    def milliseconds(self) -> dict[str, float]:
        """By part, of the last update; the whole of it under the empty name."""
        parts: dict[str, float] = defaultdict(float)
        for part, begin, end in self._events:
            parts[part] += begin.elapsed_time(end)
        return parts


def breakdown(work: SyntheticLearner, updates: int) -> Mapping[str, float]:
    """Milliseconds by part, medians; `rest` is what lies in no region.

    On a CPU one part after the other, though in an update the heads' policy and value run in parallel with the other
    backward passes. On a GPU as they run in the captured update, where parallel parts both count; nothing where none is
    captured.
    """
    before = work.world.execution
    try:
        if work.world.device.type == "cpu":
            return _of_host(work, updates)
        return _of_device(work, updates) if before.compiled else {}
    finally:
        work.world.execution = before


def _of_host(work: SyntheticLearner, updates: int) -> Mapping[str, float]:
    work.world.execution = watch = Stopwatch(work.world.execution)
    rows: list[dict[str, float]] = []
    for _ in range(updates):
        watch.seconds.clear()
        started = time.perf_counter()
        with watch.warmup(watch):  # heads one after the other may have to be compiled again, for all cores
            total = torch.stack([*work.losses().values()]).sum()
            forward = time.perf_counter() - started
            inside = dict(watch.seconds)
            backward = timed(total.backward)
        optimizer = timed(lambda: [o.step(o.gradient_norms(), watch.inner) for o in work.learner.optimizers.values()])
        back = watch.seconds.pop("scan, backward", 0.0)
        rest = forward - sum(inside.values())
        parts = {"scan, backward": back, "backward, rest": backward - back, "optimizer": optimizer, "rest": rest}
        rows.append({**inside, **parts})
    return {name: 1000 * statistics.median(row[name] for row in rows) for name in rows[-1]}


def _of_device(work: SyntheticLearner, updates: int) -> Mapping[str, float]:
    work.world.execution = watch = GraphWatch(work.world.execution)
    rows: list[dict[str, float]] = []
    while len(rows) < updates:
        timed(work.update)
        if parts := watch.milliseconds():
            whole = parts.pop("")
            rows.append({**parts, "rest": whole - sum(parts.values())})
    return {name: statistics.median(row[name] for row in rows) for name in rows[-1]}
