"""Keeps a run safe: saves it now and then and however it ends, and puts what ended it in words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import torch

from manyheads.errors import ManyheadsError
from manyheads.execution.toolchain import is_compiler_error
from manyheads.learning.prefetch import UpdateCount
from manyheads.learning.run_monitor import RunMonitor
from manyheads.learning.stop import StopRequest

if TYPE_CHECKING:
    from manyheads.report.progress import Progress

FULL = (
    "The GPU has too little memory: {error}. The last checkpoint stands. Close other programs on it and run the "
    "command again, or begin a world with a smaller world.size or training.batch_size."
)


class SafeRun:
    """Calls `save` every so many `minutes` and at every end but one inside an update or at a second Ctrl-C."""

    def __init__(self, save: Callable[[], None], minutes: float) -> None:
        self.save, self.minutes, self.stop = save, minutes, StopRequest()
        self.sound = True
        """what was learned may be saved: no update has begun that did not end"""

    @contextmanager
    def around(
        self, monitor: RunMonitor, now: Callable[[], UpdateCount], progress: Progress
    ) -> Iterator[Callable[[], bool]]:
        """Around a loop, which asks before each turn whether to end. The first Ctrl-C, SIGTERM and SIGHUP end it with
        KeyboardInterrupt, a callback of `monitor` without."""
        stop, saved = self.stop, time.monotonic()

        def stopping() -> bool:
            nonlocal saved
            stop.keep()
            if time.monotonic() - saved > 60 * self.minutes:
                self.save()
                saved = time.monotonic()
            return stop.requested or monitor.stopped

        with stop:
            try:
                with self._in_words(progress):
                    yield stopping
            except BaseException as error:
                if self.sound and not (stop.requested and isinstance(error, KeyboardInterrupt)):
                    with suppress(ManyheadsError):  # what ended the work is said, not that a full disk stays full
                        self.save()
                raise
            self.save()
            monitor.tell("end", now())
        steps, updates = now()
        if stop.requested:
            progress.say(f"Stopped and saved at {steps} steps, {updates} updates; the same command continues.")
            raise KeyboardInterrupt
        if monitor.stopped:
            progress.say(f"A callback ended the run at {steps:,} steps, {updates:,} updates; it is saved.")

    @contextmanager
    def _in_words(self, progress: Progress) -> Iterator[None]:
        """What ends an update though nothing is wrong with it, in words."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise ManyheadsError(FULL.format(error=str(error).split(". ")[0])) from error
        except Exception as error:  # a compiler that is interrupted raises errors of many types
            if not self.stop.requested or not is_compiler_error(error):
                raise
            progress.say(
                "Stopped while compiling: rows are kept, and weights as last saved; the same command continues."
            )
            raise KeyboardInterrupt from None
