"""Lines that are said once: what an environment declares that a reader would not expect to be changed."""

from __future__ import annotations

import logging
import multiprocessing

logger = logging.getLogger("manyheads")


_said: set[str] = set()


def warn_once(text: str, about: str = "") -> None:
    """Logs a warning, once in this process; of several texts `about` one thing, the first."""
    if (about or text) not in _said:
        _said.add(about or text)
        logger.warning("%s", text)


def note_once(text: str) -> None:
    """A warning about how an environment is read; silent in worker processes, for the main one has said it."""
    if multiprocessing.parent_process() is None:
        warn_once(text)
