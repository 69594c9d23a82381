"""A worker process with some environments: how it is talked to, what it does, and how it ends."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import MutableSequence, Sequence
from multiprocessing.connection import Connection
from typing import Any

from gymnasium.vector.utils import CloudpickleWrapper

from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.experience.vector_env import EnvSlot, SyncVectorEnv

STARTUP = 300.0
"""seconds that a worker may take at least to import and make its environments"""
PR_SET_PDEATHSIG = 1

Work = tuple[Sequence[EnvSlot], SpaceLayout]


class WorkerLost(Exception):
    """A worker ended or hung; the text is the reason."""

    def __init__(self, reason: str, at: Sequence[int]) -> None:
        super().__init__(reason)
        self.env, _, self.seed, self.step = at
        """the environment that was at work, counted within the worker, and where in which episode"""


class EnvWorker:
    """A process that steps environments and answers one message at a time."""

    def __init__(self, slots: Sequence[EnvSlot], interface: SpaceLayout, timeout: float) -> None:
        """Starts the process and waits for it; raises ManyheadsError, or WorkerLost."""
        context = multiprocessing.get_context("spawn")
        self._timeout = timeout
        self._at = context.RawArray("q", 4)
        self._pipe, theirs = context.Pipe()
        work = CloudpickleWrapper[Any](lambda: (slots, interface))
        in_main_thread = threading.current_thread() is threading.main_thread()
        self.process = context.Process(target=_serve, args=(theirs, work, self._at, in_main_thread), daemon=True)
        self.process.start()
        theirs.close()

    def send(self, *message: Any) -> None:
        """Sends a message; where the worker is gone, `receive` says so."""
        try:
            self._pipe.send(message)
        except OSError:
            return

    def receive(self, timeout: float | None = None) -> Any:
        """The answer. Raises WorkerLost where the process ended, or an environment took too long over one step."""
        before = tuple(self._at)
        while not self._poll(timeout or self._timeout):
            if tuple(self._at) == before:
                self.end()
                limit = f"{timeout or self._timeout:g} s (training.step_timeout)"
                raise WorkerLost(f"nothing came back within {limit}, so its process was ended", before)
            before = tuple(self._at)
        try:
            sound, answer = self._pipe.recv()
        except (EOFError, OSError):
            self.end()
            code = self.process.exitcode or 0
            how = f"signal {-code}; was the machine short of memory?" if code < 0 else f"exit code {code}"
            raise WorkerLost(f"its process ended ({how})", tuple(self._at)) from None
        if not sound:
            self.end()
            raise ManyheadsError(answer)
        return answer

    def end(self, patience: float = 1) -> None:
        """Ends the process, which has so many seconds to close its environments; safe to call twice."""
        self._pipe.close()
        self.process.join(timeout=patience)
        self.process.kill()
        self.process.join()

    def _poll(self, timeout: float) -> bool:
        try:
            return self._pipe.poll(timeout)
        except OSError:
            return True  # `recv` says what is wrong


def _serve(pipe: Connection, work: CloudpickleWrapper[Any], at: MutableSequence[int], in_main_thread: bool) -> None:
    """A worker's life: makes its environments, answers messages, ends with its pipe or its parent."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # to the whole group: the parent decides
        signal.signal(number, signal.SIG_IGN)
    _end_with_parent(in_main_thread)
    try:
        slots, interface = work.fn()
        environments = SyncVectorEnv(slots, interface, at)
        pipe.send((True, environments.layouts))
        while True:
            task, *details = pipe.recv()
            if task == "rebuild":
                pipe.send((True, environments.rebuild(*details)))
            else:
                environments.step_async(*details)
                pipe.send((True, environments.step_wait()))
    except ManyheadsError as error:
        pipe.send((False, str(error)))
    except (EOFError, ConnectionError):
        return


def _end_with_parent(in_main_thread: bool) -> None:
    """Ends this process when its parent has ended, however that ended.

    The system sends a signal where it can: that ends an environment that never lets go of the interpreter. It does so
    when the thread ends that started this process, so only the parent's main thread may ask for it.
    """
    if sys.platform == "linux" and in_main_thread:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
