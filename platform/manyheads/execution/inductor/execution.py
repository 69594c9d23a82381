"""Execution by the quick compiler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, cast

import torch

from manyheads.execution.compiled import CompiledExecution, Replacements
from manyheads.execution.eager import DryRun
from manyheads.execution.inductor.codegen import generate_code
from manyheads.execution.inductor.compiled_function import CompiledFunction
from manyheads.execution.inductor.trace import Run, TracedFunction
from manyheads.execution.inductor.warmup import compile_ahead

P = ParamSpec("P")
R = TypeVar("R")


class InductorExecution(CompiledExecution):
    """Each compiled function is one static graph a signature, kept in a cache folder across runs.

    `options` are torch inductor's.
    """

    name = "quick compiler"

    def __init__(
        self,
        compute_dtype: torch.dtype = torch.float32,
        replacements: Replacements | None = None,
        use_cuda_graphs: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(compute_dtype, replacements, use_cuda_graphs)
        self.options = dict(options or {})
        self._functions: dict[tuple[Callable[..., object], bool], CompiledFunction[Any]] = {}

    def compile(self, function: Callable[P, R]) -> Callable[P, R]:
        return cast(Callable[P, R], self.compiled_function(function))

    def compile_loss(self, function: Callable[P, R]) -> Callable[P, R]:
        return cast(Callable[P, R], self.compiled_function(function, summed=True))

    def compiled_function(self, function: Callable[P, R], summed: bool = False) -> CompiledFunction[R]:
        """The function's compiled form; `summed`: its outputs are minimised by their sum."""
        key = (function, summed)
        if key not in self._functions:
            self._functions[key] = CompiledFunction(function, self._generate_code, summed)
        return self._functions[key]

    def compile_ahead(self, dry_run: DryRun) -> None:
        if not self.use_cuda_graphs:  # a GPU's code has no C++ to compile on other cores
            compile_ahead(self, self.compiled_function, self.options, dry_run)

    def _generate_code(self, traced: TracedFunction) -> tuple[Run, Run | None]:
        return generate_code(traced, {**self.options, "size_asserts": False})  # graphs are looked up by signature
