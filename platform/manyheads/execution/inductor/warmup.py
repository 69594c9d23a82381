"""Compiling on all cores: what a first update computes is compiled before it runs, not part by part as it is called.

A dry run makes the update on a copy, with zeros in place of what compiled functions return, to see what they are called
with. Each is written as C++ and given to a compiler on another core (`patches.py`).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from manyheads.execution.compiled import CompiledExecution
from manyheads.execution.eager import DryRun
from manyheads.execution.inductor.compiled_function import CompiledFunction
from manyheads.execution.inductor.patches import parallel_compilation
from manyheads.execution.inductor.signature import signature_of
from manyheads.execution.memory import trim_memory
from manyheads.execution.toolchain import is_compiler_error

Lookup = Callable[..., CompiledFunction[Any]]
"""from a function, and whether its outputs are minimised by their sum (`summed`), to its compiled form"""

FAILED = (
    "The first update could not be tried on a copy, so its functions are compiled one after the other, which takes "
    "longer: {error}"
)


class WarmupExecution(CompiledExecution):
    """Compiles functions for another execution; calls return zeros of the right shapes."""

    def __init__(self, execution: CompiledExecution, compiled_function: Lookup) -> None:
        super().__init__(execution.compute_dtype, execution.replacements)
        self._compiled_function = compiled_function

    def compile(self, function: Any) -> Any:
        return partial(self._call, self._compiled_function(function))

    def compile_loss(self, function: Any) -> Any:
        return partial(self._call, self._compiled_function(function, summed=True))

    def _call(self, function: CompiledFunction[Any], *args: Any) -> Any:
        tensors = list[Tensor]()
        signature_of(args, tensors)
        return _zeros_like(function.example_outputs(*args), tensors)


def compile_ahead(
    execution: CompiledExecution, compiled_function: Lookup, options: Mapping[str, Any], dry_run: DryRun
) -> None:
    """Compiles all that `dry_run` calls, where there are cores to do it on.

    Where that fails, for a head that can't be copied, say, it warns; functions are then compiled as they are called.
    """
    if torch.get_num_threads() < 2 or os.name != "posix":
        return
    try:
        with torch.random.fork_rng(devices=[]), parallel_compilation(options):
            dry_run(WarmupExecution(execution, compiled_function))
        trim_memory()  # what compilers and the copy needed
    except Exception as error:  # a head may be anyone's, and need not bear zeros
        if is_compiler_error(error):
            raise
        warnings.warn(FAILED.format(error=f"{type(error).__name__}: {error}"), stacklevel=2)


def _zeros_like(outputs: Any, tensors: list[Tensor]) -> Any:
    """Zeros for tensors; differentiable ones give zero gradients to those of `tensors` that require them."""
    leaves, structure = tree_flatten(outputs)
    zeros = iter(_Zeros.apply([x for x in leaves if isinstance(x, Tensor)], *tensors))  # type: ignore[no-untyped-call]
    return tree_unflatten([next(zeros) if isinstance(x, Tensor) else x for x in leaves], structure)


class _Zeros(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, like: list[Tensor], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.tensors = tensors
        zeros = [torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device).zero_() for x in like]
        ctx.mark_non_differentiable(*(zero for x, zero in zip(like, zeros, strict=True) if not x.requires_grad))
        return tuple(zeros)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(torch.zeros_like(x) if x.requires_grad else None for x in ctx.tensors)
