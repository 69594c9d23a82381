"""Compiling on all cores: what a first update computes is compiled before it runs, not part by part as it goes.

A copy of the learner rehearses the update with zeros in place of what regions compute, to see what its regions are
called with. Each is written as C++ then and given to a compiler on another core (`learning/inductor.py`).
"""

from __future__ import annotations

import copy
import os
import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from manyheads.learning.fast import give_back_memory
from manyheads.learning.inductor import by_compiler, compilers
from manyheads.world.direct import Direct
from manyheads.world.execution import Compiled, Execution
from manyheads.world.kinds import kind_of

FAILED = (
    "Rehearsing an update on a copy failed, so its parts are compiled one after the other, which takes longer: {error}"
)


class Rehearsal(Compiled):
    """Regions are compiled for `execution`, and give zeros of the right shapes."""

    def __init__(self, execution: Compiled) -> None:
        super().__init__(execution.dtype, execution.options)
        self._execution = execution

    def region(self, function: Any) -> Any:
        return partial(self._rehearsed, self._execution.direct(function))

    def objective(self, function: Any) -> Any:
        return partial(self._rehearsed, self._execution.direct(function, summed=True))

    def _rehearsed(self, direct: Direct[Any], *args: Any) -> Any:
        tensors = list[Tensor]()
        kind_of(args, tensors)
        return _zeros_like(direct.stand_ins(*args), tensors)


def compile_ahead(learner: Any, update: str, *args: Any) -> None:
    """Before a learner's first `update` with `args`: compiles all that it calls, where there are cores to do it on.

    Where that fails, say for a head that can't be copied, it warns; regions are compiled as they are called then.
    """
    execution: Execution = learner.world.execution
    on_cores = learner.world.device.type == "cpu" and torch.get_num_threads() > 1 and os.name == "posix"
    if not isinstance(execution, Compiled) or not on_cores:
        return
    try:
        copied = copy.deepcopy(learner)
        copied.world.execution, copied.deferred = Rehearsal(execution), True  # numbers mean nothing here: not read
        with torch.random.fork_rng(devices=[]), compilers(execution.options):
            getattr(copied, update)(*args)
        give_back_memory()  # what compilers took, and a copy
    except Exception as error:  # a head may be anyone's, and need not bear zeros
        if by_compiler(error):
            raise
        warnings.warn(FAILED.format(error=f"{type(error).__name__}: {error}"), stacklevel=2)


def _zeros_like(made: Any, tensors: list[Tensor]) -> Any:
    """Zeros for tensors; what has a graph gives zero gradients to those of `tensors` that want some."""
    leaves, structure = tree_flatten(made)
    zeros = iter(_Zeros.apply([x for x in leaves if isinstance(x, Tensor)], *tensors))  # type: ignore[no-untyped-call]
    return tree_unflatten([next(zeros) if isinstance(x, Tensor) else x for x in leaves], structure)


class _Zeros(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, like: list[Tensor], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.tensors = tensors
        made = [torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device).zero_() for x in like]
        ctx.mark_non_differentiable(*(zeros for x, zeros in zip(like, made, strict=True) if not x.requires_grad))
        return tuple(made)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(torch.zeros_like(x) if x.requires_grad else None for x in ctx.tensors)
