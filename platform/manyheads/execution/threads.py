"""Independent functions in two CPU threads, each with half of the cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import torch

R = TypeVar("R")


class TwoThreads:
    """The calling thread and one more."""

    def __init__(self) -> None:
        self._other = ThreadPoolExecutor(1)

    def run(self, functions: Sequence[Callable[[], R]], sequential: bool = False) -> list[R]:
        """Their results in order; `sequential`: one after the other, but with as many cores as they will have later.

        An error of one of them is raised once no other one is running.
        """
        half = torch.get_num_threads() // 2
        if not half or len(functions) < 2:
            return [function() for function in functions]
        with num_threads(half):
            if sequential:
                return [function() for function in functions]
            first, *others = functions
            grad_enabled = torch.is_grad_enabled()
            futures = [self._other.submit(_call, half, grad_enabled, other) for other in others]
            try:
                result = first()
                pairs = [*zip(others, futures, strict=True)][::-1]
                results = [other() if future.cancel() else future.result() for other, future in pairs]
                return [result, *results[::-1]]
            finally:
                for future in futures:
                    future.cancel()
                wait(futures)


@contextmanager
def num_threads(number: int) -> Iterator[None]:
    """Around work that uses so many CPU threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _call(number: int, grad_enabled: bool, function: Callable[[], R]) -> R:
    torch.set_num_threads(number)
    with torch.set_grad_enabled(grad_enabled):
        return function()
