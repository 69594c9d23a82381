"""One side of a comparison: a process that makes one timed update for each line that it reads.

It imports nothing but the standard library, so that each side runs in its own environment.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

WARM_UPDATES = 3
"""updates before it is ready: the first ones compile and allocate"""


def asked() -> dict[str, Any]:
    """The workload, `threads` and what else this side was started with."""
    asked: dict[str, Any] = json.loads(sys.argv[1])
    return asked


def serve(says: dict[str, Any], update: Callable[[], object]) -> None:
    """Warms up, writes what this side is as a line of JSON, then answers each line with an update's milliseconds.

    `update` returns when the device is done. Whatever else prints goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    times = [_milliseconds(update) for _ in range(WARM_UPDATES)]
    answers.write(json.dumps({**says, "first_ms": times[0]}) + "\n")
    for _ in sys.stdin:
        answers.write(json.dumps(_milliseconds(update)) + "\n")


def _milliseconds(update: Callable[[], object]) -> float:
    start = time.perf_counter()
    update()
    return 1000 * (time.perf_counter() - start)
