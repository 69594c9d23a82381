"""The C library's memory: freed pages are kept between updates, and given back once when told to."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""malloc.h"""


def keep_freed_memory() -> None:
    """Asks the C library to keep what is freed: returning pages and allocating them again is a third of an update."""
    allocator = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if allocator is not None:
        allocator(M_TRIM_THRESHOLD, -1)
        allocator(M_MMAP_MAX, 0)


def trim_memory() -> None:
    """Gives freed memory back to the system once, where less will be needed from now on."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
