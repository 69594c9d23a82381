"""Environments in worker processes: they step while the caller does other things, and may fail alone."""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.experience.env_worker import STARTUP, EnvWorker, WorkerLost
from manyheads.experience.vector_env import (
    EnvFailure,
    EnvSlot,
    Floats,
    MakeVectorEnv,
    SyncVectorEnv,
    VectorStep,
    describe,
)

STEP_TIMEOUT = 600.0


def choose_vector_env(workers: int, step_timeout: float = STEP_TIMEOUT) -> MakeVectorEnv:
    """Environments in that many worker processes; 0: in this process, where nothing can stop one that hangs."""
    return partial(SubprocVectorEnv, workers=workers, step_timeout=step_timeout) if workers else SyncVectorEnv


class SubprocVectorEnv:
    """Environments in `workers` processes, each with some that follow one another.

    One reset or step of one environment may take `step_timeout` seconds. A worker that hangs or dies is replaced; its
    other environments are lost with it and begin new episodes.
    """

    def __init__(
        self, slots: Sequence[EnvSlot], interface: SpaceLayout, workers: int, step_timeout: float = STEP_TIMEOUT
    ) -> None:
        count = min(workers, len(slots))
        edges = [len(slots) * k // count for k in range(count + 1)]
        self.slots, self.interface, self.step_timeout = slots, interface, step_timeout
        self._signals = max(len(slot.instance.signals) for slot in slots)
        self._parts = [range(start, stop) for start, stop in pairwise(edges)]
        self._workers: list[EnvWorker | None] = [self._start(k) for k in range(count)]
        atexit.register(self.close)
        self.layouts: list[SpaceLayout] = []
        for worker, part in zip(self._workers, self._parts, strict=True):
            assert worker is not None
            try:
                self.layouts += worker.receive(max(STARTUP, step_timeout))
            except WorkerLost as lost:
                self.close()
                name = self.slots[part[lost.env]].instance.key
                raise ManyheadsError(f"{name} could not be made in a worker process: {lost}.") from None

    def step_async(self, seeds: Sequence[int | None], actions: Floats) -> None:
        for worker, part in zip(self._workers, self._parts, strict=True):
            assert worker is not None, "environments that failed are rebuilt before they are stepped"
            worker.send("step", seeds[part.start : part.stop], actions[part.start : part.stop])

    def step_wait(self) -> VectorStep:
        return self._concatenate([self._receive(k, len(part)) for k, part in enumerate(self._parts)])

    def rebuild(self, env: int, seed: int, actions: Floats) -> VectorStep:
        k = next(k for k, part in enumerate(self._parts) if env in part)
        worker = self._workers[k]
        if worker is None:
            try:
                worker = self._workers[k] = self._start(k)
                worker.receive(max(STARTUP, self.step_timeout))
            except (WorkerLost, ManyheadsError) as error:
                self._workers[k] = None
                step = VectorStep.empty(self.interface, len(actions) + 1, self._signals)
                step.failures[env] = EnvFailure(f"{describe(self.slots[env], seed, 0)}: {str(error).rstrip('.')}")
                return step
        worker.send("rebuild", env - self._parts[k].start, seed, actions)
        return self._concatenate([self._receive(k, len(actions) + 1)])

    def close(self) -> None:
        atexit.unregister(self.close)
        for worker in self._workers:
            if worker is not None:
                worker.end(patience=10)

    def _start(self, k: int) -> EnvWorker:
        part = self._parts[k]
        return EnvWorker(self.slots[part.start : part.stop], self.interface, self.step_timeout)

    def _receive(self, k: int, rows: int) -> VectorStep:
        """The worker's answer, its environments numbered as here; where it is lost, so are all of them."""
        worker, part = self._workers[k], self._parts[k]
        assert worker is not None
        try:
            step: VectorStep = worker.receive()
        except WorkerLost as lost:
            self._workers[k] = None
            step = VectorStep.empty(self.interface, rows, self._signals)
            culprit = part[lost.env]
            step.failures.update({env: self._lost_with(culprit, env) for env in part})
            step.failures[culprit] = EnvFailure(f"{describe(self.slots[culprit], lost.seed, lost.step)}: {lost}")
            return step
        return replace(step, failures={part.start + env: failure for env, failure in step.failures.items()})

    def _lost_with(self, culprit: int, env: int) -> EnvFailure:
        key = self.slots[env].instance.key
        return EnvFailure(f"{key} was lost with environment {culprit} of its worker process", own=False)

    def _concatenate(self, parts: Sequence[VectorStep]) -> VectorStep:
        """Several workers' rows one after another, signals padded to the same width."""
        images = [part.image for part in parts if part.image is not None]
        failures: dict[int, EnvFailure] = {}
        for part in parts:
            failures |= part.failures

        def padded(signals: Any) -> Any:
            return np.pad(signals, ((0, 0), (0, self._signals - signals.shape[1])))

        return VectorStep(
            image=np.concatenate(images) if images else None,
            vector=np.concatenate([part.vector for part in parts]),
            signals=np.concatenate([padded(part.signals) for part in parts]),
            is_last=np.concatenate([part.is_last for part in parts]),
            is_terminal=np.concatenate([part.is_terminal for part in parts]),
            failures=failures,
        )
