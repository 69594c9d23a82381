"""Execution by `torch.compile`, through its public interface alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch

from manyheads.execution.compiled import CompiledExecution, Replacements

P = ParamSpec("P")
R = TypeVar("R")


class TorchCompileExecution(CompiledExecution):
    """Each function goes through `torch.compile` with static shapes."""

    name = "torch.compile"
    stacks = False  # it reads bytecode, and modules whose tensors are swapped inside vmap are beyond it

    def __init__(
        self,
        compute_dtype: torch.dtype = torch.float32,
        replacements: Replacements | None = None,
        use_cuda_graphs: bool = False,
    ) -> None:
        super().__init__(compute_dtype, replacements, use_cuda_graphs)
        self._compiled: dict[Callable[..., Any], Callable[..., Any]] = {}

    def compile(self, function: Callable[P, R]) -> Callable[P, R]:
        if function not in self._compiled:
            self._compiled[function] = torch.compile(function, dynamic=False)
        return self._compiled[function]
