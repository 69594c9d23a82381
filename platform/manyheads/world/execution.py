"""How a world's large computations run: plainly, or compiled and with shorter products."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from manyheads.world.captured import Captured, on_streams
from manyheads.world.compiler import compiled
from manyheads.world.direct import Direct
from manyheads.world.traced import Run, Traced

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=nn.Module)


class Execution:
    """The plain way: every operation by itself. `Compiled` is the fast one.

    `dtype` is the type of large products; norms, losses, returns and weights stay float32. So does the scan over
    observed rows, but for a CUDA device.
    """

    compiled = False

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype

    def region(self, function: Callable[P, R]) -> Callable[P, R]:
        """How to call `function`, which makes tensors of tensors, always of the same shapes, and no more: only where no
        gradients are wanted may it write to its arguments."""
        return function

    def objective(self, function: Callable[P, R]) -> Callable[P, R]:
        """How to call a region whose losses () are trained by their sum alone; what else it makes has no gradients."""
        return self.region(function)

    def whole(self, function: Callable[P, R], generators: Iterable[torch.Generator]) -> Callable[P, R]:
        """How to call a whole update, or a whole step of acting; random numbers come from `generators`.

        What a call returns may be written over by the next call.
        """
        return function

    def short(self, module: M) -> M:
        """What to compute with instead of a module: itself, or a copy of it as it is now, with matrices in the type of
        large products; trains nothing."""
        return module

    def for_rows(self, module: M) -> M:
        """What to compute the scan over observed rows with, one small product after the other: a module itself, or as
        `short` has it."""
        return module

    def beside(self, works: Sequence[Callable[[], R]]) -> list[R]:
        """Calls what does not wait for one another, the first one in this thread."""
        return [work() for work in works]

    def steady(self, *kind: object) -> AbstractContextManager[bool]:
        """Around work that is repeated; works of one `kind` call the same regions with the same shapes. Says whether
        work of this kind compiles its regions now."""
        return nullcontext(False)

    def shorten(self, x: Tensor) -> Tensor:
        """In the type of large products."""
        return x.to(self.dtype)


class Compiled(Execution):
    """Each region one static graph, compiled on first use and kept in a cache folder across runs.

    With `capture`, for a CUDA device, whole updates are graphs of the device.
    """

    compiled = True

    def __init__(
        self, dtype: torch.dtype = torch.float32, options: Mapping[str, Any] | None = None, capture: bool = False
    ) -> None:
        super().__init__(dtype)
        self._capture = capture
        self._wholes: dict[Callable[..., object], Captured[Any]] = {}
        self.options = dict(options or {})
        self._known: set[tuple[object, ...]] = set()
        self._compiles = True
        self._second = ThreadPoolExecutor(1)
        self._short: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()
        self._regions: dict[tuple[Callable[..., object], bool], Direct[Any]] = {}

    def region(self, function: Callable[P, R]) -> Callable[P, R]:
        return cast(Callable[P, R], self.direct(function))

    def objective(self, function: Callable[P, R]) -> Callable[P, R]:
        return cast(Callable[P, R], self.direct(function, summed=True))

    def direct(self, function: Callable[P, R], summed: bool = False) -> Direct[R]:
        """A region, or an objective (`summed`)."""
        if (function, summed) not in self._regions:
            self._regions[function, summed] = Direct(function, self._compile, summed)
        return self._regions[function, summed]

    def _compile(self, traced: Traced) -> tuple[Run, Run | None]:
        return compiled(traced, {**self.options, "size_asserts": False})  # graphs are looked up by their arguments

    @torch.no_grad()
    def short(self, module: M) -> M:
        if self.dtype is torch.float32:
            return module
        if module not in self._short:
            copied = copy.deepcopy(module).requires_grad_(False)
            for parameter in copied.parameters():
                if parameter.dim() > 1:
                    parameter.data = parameter.data.to(self.dtype)
            self._short[module] = copied
        torch._foreach_copy_(list(self._short[module].parameters()), list(module.parameters()))
        return self._short[module]  # type: ignore[return-value]

    def for_rows(self, module: M) -> M:
        return self.short(module) if self._capture else module

    def whole(self, function: Callable[P, R], generators: Iterable[torch.Generator]) -> Callable[P, R]:
        if not self._capture:
            return function
        if function not in self._wholes:
            self._wholes[function] = Captured(function, generators)
        return self._wholes[function]  # type: ignore[return-value]

    def beside(self, works: Sequence[Callable[[], R]]) -> list[R]:
        """In two threads with half of the cores each: small products gain little from more. Regions called here are
        compiled for so many. On a CUDA device in streams."""
        half = torch.get_num_threads() // 2
        if self._capture and len(works) > 1:
            return on_streams(works)
        if not half or len(works) < 2:
            return super().beside(works)
        with threads(half):
            if self._compiles:
                return super().beside(works)
            first, *others = works
            graded = torch.is_grad_enabled()
            futures = [self._second.submit(_with_threads, half, graded, other) for other in others]
            try:
                found = first()
                pairs = [*zip(others, futures, strict=True)][::-1]
                last = [other() if future.cancel() else future.result() for other, future in pairs]
                return [found, *last[::-1]]
            finally:
                for future in futures:
                    future.cancel()
                wait(futures)

    @contextmanager
    def steady(self, *kind: object) -> Iterator[bool]:
        self._compiles = kind not in self._known
        try:
            yield self._compiles
            self._known.add(kind)
        finally:
            self._compiles = True  # what comes outside may be new

    def __reduce__(self) -> tuple[Any, ...]:
        """For a copy, where nothing is compiled yet."""
        return Compiled, (self.dtype, self.options, self._capture)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Around what uses so many threads of the CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _with_threads(number: int, graded: bool, function: Callable[[], R]) -> R:
    torch.set_num_threads(number)
    with torch.set_grad_enabled(graded):
        return function()
