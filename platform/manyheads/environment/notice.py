"""Lines that are said once: what an environment declares that a reader would not expect to be changed."""

from __future__ import annotations

import logging
import multiprocessing
from functools import cache

logger = logging.getLogger("manyheads")


@cache
def warn_once(text: str) -> None:
    """Logs a warning, once in this process."""
    logger.warning("%s", text)


def note_once(text: str) -> None:
    """A warning about how an environment is read; silent in worker processes, for the main one has said it."""
    if multiprocessing.parent_process() is None:
        warn_once(text)
