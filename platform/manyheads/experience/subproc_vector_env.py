"""Simulators spread over worker processes.

Gymnasium's vector environments want one process a slot and the same spaces in all of them; here a few workers
hold many slots of different instances.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from gymnasium.vector.utils import CloudpickleWrapper

from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.experience.vector_env import EnvSlot, Floats, SyncVectorEnv, VectorStep


class SubprocVectorEnv:
    """Simulators in `count` processes, each with a stretch of the slots."""

    def __init__(self, slots: Sequence[EnvSlot], interface: SpaceLayout, count: int) -> None:
        count = min(count, len(slots))
        edges = [len(slots) * k // count for k in range(count + 1)]
        self.signals = max(len(slot.instance.signals) for slot in slots)
        self._parts = [slice(start, stop) for start, stop in pairwise(edges)]
        self._pipes: list[Connection] = []
        self._processes = []
        context = multiprocessing.get_context("spawn")
        for part in self._parts:
            ours, theirs = context.Pipe()
            work = CloudpickleWrapper[Any](partial(SyncVectorEnv, slots[part], interface))
            process = context.Process(target=_serve, args=(theirs, work), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        self.layouts = [places for k in range(count) for places in self._receive(k)]

    def step_async(self, seeds: Sequence[int | None], actions: Floats) -> None:
        for k, part in enumerate(self._parts):
            self._send(k, ("advance", seeds[part], actions[part]))

    def step_wait(self) -> VectorStep:
        parts = [self._receive(k) for k in range(len(self._pipes))]
        return _concatenate(parts, self.signals)

    def rebuild(self, slot: int, seed: int, actions: Floats) -> VectorStep:
        k = next(k for k, part in enumerate(self._parts) if slot < part.stop)
        self._send(k, ("rebuild", slot - self._parts[k].start, seed, actions))
        return _concatenate([self._receive(k)], self.signals)

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(timeout=10)
            process.kill()

    def _send(self, k: int, message: tuple[Any, ...]) -> None:
        try:
            self._pipes[k].send(message)
        except OSError as error:
            raise self._lost(k) from error

    def _receive(self, k: int) -> Any:
        try:
            sound, answer = self._pipes[k].recv()
        except (EOFError, OSError) as error:
            raise self._lost(k) from error
        if not sound:
            raise ManyheadsError(answer)
        return answer

    def _lost(self, k: int) -> ManyheadsError:
        self._processes[k].join(timeout=1)
        part = self._parts[k]
        return ManyheadsError(
            f"The worker process for slots {part.start} to {part.stop - 1} is gone (exit code "
            f"{self._processes[k].exitcode}). The rows so far are kept; was the machine short of memory?"
        )


def _serve(pipe: Connection, work: CloudpickleWrapper[Any]) -> None:
    """A worker's life: builds its environments, answers messages, ends when the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        local = work.fn()
        pipe.send((True, local.layouts))
        while True:
            task, *details = pipe.recv()
            if task == "rebuild":
                pipe.send((True, local.rebuild(*details)))
            else:
                local.step_async(*details)
                pipe.send((True, local.step_wait()))
    except ManyheadsError as error:
        pipe.send((False, str(error)))
    except (EOFError, ConnectionError):
        return


def _concatenate(parts: Sequence[VectorStep], signals: int) -> VectorStep:
    """Several workers' slots one after another, signals padded to the same width."""
    images = [part.image for part in parts if part.image is not None]
    return VectorStep(
        image=np.concatenate(images) if images else None,
        vector=np.concatenate([part.vector for part in parts]),
        signals=np.concatenate([np.pad(p.signals, ((0, 0), (0, signals - p.signals.shape[1]))) for p in parts]),
        is_last=np.concatenate([part.is_last for part in parts]),
        is_terminal=np.concatenate([part.is_terminal for part in parts]),
    )
