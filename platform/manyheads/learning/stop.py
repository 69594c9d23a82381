"""Ctrl-C and SIGTERM as a request that work ends at the next safe place."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any


class StopRequest:
    """Turns the first Ctrl-C or SIGTERM into a request; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        message = "\nStopping after this update, then saving. Ctrl-C again stops at once, without saving.\n"
        os.write(2, message.encode())  # print() must not be re-entered by a signal
