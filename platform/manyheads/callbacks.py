"""What a run of training tells while it runs, and how a function may end it.

A callback is any function of one event. It is called in the training process, between two steps, and may read a world's
files and write its own; what it returns is looked at for False alone, which saves and ends the run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

EventKind = Literal["start", "step", "episode", "update", "evaluation", "checkpoint", "end"]


@dataclass(frozen=True)
class TrainingEvent:
    """Something that happened in a run.

    | kind | when | `task` | `numbers` |
    |---|---|---|---|
    | `start` | before the first step | | |
    | `step` | rows were collected, one in each environment | | |
    | `episode` | a training episode ended | its task | `return` (the task's own reward), `simulator` |
    | `update` | every 50 updates | | losses, by path: `world/…`, `TASK/…` |
    | `evaluation` | a head was played on reserved seeds | its task | `return`, `simulator`, `success` (where the task \
says what it is), `best` (1.0: better than at any evaluation before) |
    | `checkpoint` | all was saved | | |
    | `end` | the run is over and saved | | |
    """

    kind: EventKind
    steps: int
    """rows collected by this run so far"""
    updates: int
    """updates made by this run so far"""
    task: str = ""
    numbers: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


Callback = Callable[[TrainingEvent], Any]
"""Gets every event of a run; False ends the run, saved, as if it had been asked for no more."""


@dataclass(frozen=True)
class Monitoring:
    """Who is told of a run's events, and how often its heads are played while it trains."""

    callbacks: Sequence[Callback] = ()
    evaluate_every: int = 0
    """rows between two evaluations (of a head in imagination alone: updates); 0: never"""
    evaluate_episodes: int = 5

    def __bool__(self) -> bool:
        return bool(self.callbacks) or self.evaluate_every > 0


class EarlyStopping:
    """Ends a run when its evaluations get no better: of `task`, or, without it, when those of no task do.

    `patience` is the number of evaluations in a row that are not better by more than `min_delta`; with `target`, the
    run also ends as soon as every watched task's return reaches it. Needs `evaluate_every`.
    """

    def __init__(
        self, task: str | None = None, *, patience: int = 5, min_delta: float = 0.0, target: float = math.inf
    ) -> None:
        if patience < 1:
            raise ValueError(f"patience={patience}: expected 1 or more evaluations.")
        self.task, self.patience, self.min_delta, self.target = task, patience, min_delta, target
        self._best: dict[str, float] = {}
        self._latest: dict[str, float] = {}
        self._waited: dict[str, int] = {}

    def __call__(self, event: TrainingEvent) -> bool:
        if event.kind != "evaluation" or self.task not in (None, event.task):
            return True
        found, best = event.numbers["return"], self._best.get(event.task, -math.inf)
        self._latest[event.task] = found
        if found > best + self.min_delta or event.task not in self._best:
            self._best[event.task], self._waited[event.task] = found, 0
        else:
            self._waited[event.task] += 1
        reached = all(value >= self.target for value in self._latest.values())
        return not reached and any(waited < self.patience for waited in self._waited.values())


class TimeLimit:
    """Ends a run after so many minutes of it."""

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.minutes, self._clock = minutes, clock
        self._began: float | None = None

    def __call__(self, event: TrainingEvent) -> bool:
        if event.kind == "start" or self._began is None:
            self._began = self._clock()
        return self._clock() - self._began < 60 * self.minutes
