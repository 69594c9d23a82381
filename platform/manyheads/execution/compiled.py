"""What every compiling execution shares: copies in the compute dtype, parallel work, CUDA graphs, faster forms."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary

import torch
from torch import nn

from manyheads.execution.cuda_graph import CudaGraphFunction, run_on_streams
from manyheads.execution.eager import DryRun, Execution
from manyheads.execution.threads import TwoThreads

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=nn.Module)

Replacements = Mapping[Any, Callable[..., Any]]
"""From plain functions to faster forms, with the same signatures and results."""


class CompiledExecution(Execution, ABC):
    """Compiles functions on first use; with `use_cuda_graphs`, whole updates become graphs of the device."""

    compiled = True

    def __init__(
        self,
        compute_dtype: torch.dtype = torch.float32,
        replacements: Replacements | None = None,
        use_cuda_graphs: bool = False,
    ) -> None:
        super().__init__(compute_dtype)
        self.replacements = dict(replacements or {})
        self.use_cuda_graphs = use_cuda_graphs
        self._copies: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()
        self._captured: dict[Callable[..., object], CudaGraphFunction[Any]] = {}
        self._warm: set[object] = set()
        self._warming_up = True
        self._threads = TwoThreads()

    @abstractmethod
    def compile(self, function: Callable[P, R]) -> Callable[P, R]: ...

    def implementation(self, function: Callable[P, R]) -> Callable[P, R]:
        return self.replacements.get(function, function)

    @torch.no_grad()
    def compute_copy(self, module: M, stacked: int = 0) -> M:
        if self.compute_dtype is torch.float32:
            return module
        if module not in self._copies:
            copied = copy.deepcopy(module).requires_grad_(False)
            for parameter in copied.parameters():
                if parameter.dim() > 1 + stacked:
                    parameter.data = parameter.data.to(self.compute_dtype)
            self._copies[module] = copied
        torch._foreach_copy_(list(self._copies[module].parameters()), list(module.parameters()))
        return cast("M", self._copies[module])

    def scan_copy(self, module: M) -> M:
        return self.compute_copy(module) if self.use_cuda_graphs else module

    def capture(self, function: Callable[P, R], generators: Iterable[torch.Generator]) -> Callable[P, R]:
        if not self.use_cuda_graphs:
            return function
        if function not in self._captured:
            self._captured[function] = CudaGraphFunction(function, generators)
        return cast("Callable[P, R]", self._captured[function])

    def release(self, function: Callable[..., object]) -> None:
        self._captured.pop(function, None)

    def run_parallel(self, functions: Sequence[Callable[[], R]]) -> list[R]:
        """On a CPU in two threads with half of the cores each, for small products gain little from more; on a CUDA
        device in streams. What is called here is compiled for that many cores."""
        if self.use_cuda_graphs and len(functions) > 1:
            return run_on_streams(functions)
        return self._threads.run(functions, sequential=self._warming_up)

    @contextmanager
    def warmup(self, key: object, dry_run: DryRun | None = None) -> Iterator[bool]:
        self._warming_up = key not in self._warm
        try:
            if self._warming_up and dry_run is not None:
                self.compile_ahead(dry_run)
            yield self._warming_up
            self._warm.add(key)
        finally:
            self._warming_up = True  # work outside of a warm-up may be new

    def __deepcopy__(self, memo: object) -> CompiledExecution:
        return self  # copies of a world share what is compiled

    def compile_ahead(self, dry_run: DryRun) -> None:
        """May use `dry_run` to compile before the first call; by default functions are compiled as they are called."""
