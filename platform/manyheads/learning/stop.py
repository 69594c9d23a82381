"""Ctrl-C, SIGTERM and SIGHUP as a request that work ends at the next safe place."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

SIGNALS = tuple(
    number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None
)


class StopRequest:
    """Turns the first Ctrl-C, SIGTERM or SIGHUP into a request; a second Ctrl-C interrupts at once.

    A signal that is ignored already, as SIGHUP is under `nohup`, stays ignored. Outside of the main thread, which gets
    all signals, nothing is changed.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        in_main = threading.current_thread() is threading.main_thread()
        for number in SIGNALS if in_main else ():
            if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._ask)
        return self

    def keep(self) -> None:
        """Takes the signals back that an environment has taken over meanwhile."""
        for number in self._before:
            if signal.getsignal(number) != self._ask:
                signal.signal(number, self._ask)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        if number == getattr(signal, "SIGHUP", None):
            _let_go_of_terminal()
        if self.requested:
            return
        self.requested = True
        message = "\nStopping after this update, then saving. Ctrl-C again stops at once, without saving.\n"
        with suppress(OSError):
            os.write(2, message.encode())  # print() must not be re-entered by a signal


def _let_go_of_terminal() -> None:
    """Output to a terminal that was closed is an error at every line, so it goes nowhere from here on."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for output in (1, 2):
        if os.isatty(output):
            os.dup2(nowhere, output)
    os.close(nowhere)
