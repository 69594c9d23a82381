"""Eager execution: every operation by itself, as PyTorch runs it. All other ways are held to its numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=nn.Module)

DryRun = Callable[["Execution"], object]
"""Runs a computation once with the given execution, on copies: nothing that it changes is kept."""


class Execution:
    """Runs computations eagerly.

    `compute_dtype` is the type of large matrix products; norms, losses, returns and weights stay float32, and so does
    the scan over observed rows, except on a CUDA device.
    """

    name = "eager"
    compiled = False
    stacks = True
    """whether functions over stacked weights (`torch.func.vmap`) run here"""

    def __init__(self, compute_dtype: torch.dtype = torch.float32) -> None:
        self.compute_dtype = compute_dtype

    def compile(self, function: Callable[P, R]) -> Callable[P, R]:
        """A callable with the results of `function`, which maps tensors of fixed shapes to tensors without side
        effects; it may write to its arguments only where no gradients are needed."""
        return function

    def compile_loss(self, function: Callable[P, R]) -> Callable[P, R]:
        """`compile` for a function whose differentiable outputs are scalar losses that are only ever added up and
        minimised: the gradients of their sum may be computed together with them. Backward passes from one of them
        alone, or from a weighted sum, give wrong gradients."""
        return self.compile(function)

    def implementation(self, function: Callable[P, R]) -> Callable[P, R]:
        """The form of a plain function that runs here: itself, or a faster one with the same signature and results."""
        return function

    def capture(self, function: Callable[P, R], generators: Iterable[torch.Generator]) -> Callable[P, R]:
        """A callable for a whole update or step of acting, whose random numbers come from `generators`.

        What a call returns may be overwritten by the next call.
        """
        return function

    def release(self, function: Callable[..., object]) -> None:
        """Forgets what was captured of a function, because it does other things from now on."""

    def compute_copy(self, module: M, stacked: int = 0) -> M:
        """The module to compute with where no gradients are needed: itself, or an up-to-date copy whose matrices have
        the compute dtype. `stacked`: how many axes its tensors have before their own."""
        return module

    def scan_copy(self, module: M) -> M:
        """The module to compute the scan over observed rows with: itself, or its `compute_copy`."""
        return module

    def run_parallel(self, functions: Sequence[Callable[[], R]]) -> list[R]:
        """The results of functions that are independent of one another; the first runs in the calling thread."""
        return [function() for function in functions]

    def warmup(self, key: object, dry_run: DryRun | None = None) -> AbstractContextManager[bool]:
        """A context manager around work that is repeated; equal keys mean the same compiled functions and shapes.

        It yields whether this execution compiles during this work, as a compiling one does the first time; that one may
        first call `dry_run` to compile everything ahead, and runs parallel work one after the other meanwhile.
        """
        return nullcontext(False)

    def to_compute_dtype(self, x: Tensor) -> Tensor:
        """`x` in the type of large matrix products."""
        return x.to(self.compute_dtype)
