"""Chooses how computations run on this machine: the quick compiler, else `torch.compile`, else eager execution.

The only importer of `execution/inductor/`, whose private functions of torch any new version may change: each way is
tried on a tiny differentiable function first, and what fails is said once.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from manyheads.execution.compiled import CompiledExecution, Replacements
from manyheads.execution.eager import Execution
from manyheads.execution.memory import keep_freed_memory
from manyheads.execution.precision import Precision, compute_dtype, has_bfloat16
from manyheads.execution.toolchain import cache_folder, cpp_compiler
from manyheads.execution.torch_compile import TorchCompileExecution

Way = Literal["quick compiler", "torch.compile", "eager"]

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "cpu": {
        "cpp.enable_loop_tail_vec": False,  # most tails are empty, and a loop would be written once more for each
        "cpp.use_decompose_tanh": True,
        "cpp_wrapper": True,
        "cpp.vec_isa_ok": True,  # a compiler of C++20 has them all; trying takes eight seconds, and two a run later
    },
    "cuda": {},
}

EXPECTED_WARNINGS = (
    r"\s*(Online softmax is disabled|TensorFloat32 tensor cores|The AccumulateGrad node's stream|torch.searchsorted)"
)
"""torch's warnings about what is intended: on a GPU float32 is exact, two streams may train the same weights, and the
compiler chooses the memory layout of what is looked up"""

SLOW_BFLOAT16 = (
    "training.precision is bfloat16, but this machine has no instructions for products in bfloat16: they take hundreds "
    "of times as long as float32's. Set it to auto (`--set training.precision=auto`, or in an existing world's "
    "world.yaml)."
)
NO_COMPILER = (
    "No C++ compiler was found, so training runs uncompiled, several times slower. Install g++ or clang++, or name one "
    "in the environment variable CXX; --set training.compile=false ends this message."
)
FIRST_COMPILATION = (
    "The first update takes a minute or more: its parts are compiled, once, and kept in {folder} for later runs."
)


class Choice(NamedTuple):
    """The way that works on a device, and why each faster one does not."""

    way: Way
    problems: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join([*self.problems, f"Using {self.way} instead."]) if self.problems else self.way


def make_execution(
    device: str, compile: bool = True, precision: Precision = "auto", replacements: Replacements | None = None
) -> Execution:
    """The execution for "cpu" or "cuda"; `replacements` are faster forms of plain functions, used where compiled.

    Says on stderr, once, what makes it slower than it could be.
    """
    warnings.filterwarnings("ignore", EXPECTED_WARNINGS)
    dtype = compute_dtype(precision, device)
    if dtype is torch.bfloat16 and not has_bfloat16(device):
        _say_once(SLOW_BFLOAT16)
    if not compile:
        return Execution(dtype)
    if device == "cpu" and not cpp_compiler():
        _say_once(NO_COMPILER)
        return Execution(dtype)
    if not cache_folder().exists():
        _say_once(FIRST_COMPILATION.format(folder=cache_folder()))
    keep_freed_memory()
    choice = choose(device)
    if choice.problems:
        _say_once(str(choice))
    return WAYS[choice.way](device, dtype, replacements)


@cache
def choose(device: str) -> Choice:
    """The first of quick compiler, `torch.compile` and eager execution that passes a small check on "cpu" or "cuda";
    cached for the process. Nothing is timed."""
    problems = []
    for way in ("quick compiler", "torch.compile"):
        try:
            _check(WAYS[way](device, torch.float32, None), device)
        except Exception as error:  # whatever a version of torch raises, there is a slower way
            reason = f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]
            problems.append(f"The way '{way}' does not work with torch {torch.__version__} ({reason}).")
        else:
            return Choice(way, tuple(problems))
    return Choice("eager", tuple(problems))


def _inductor(device: str, dtype: torch.dtype, replacements: Replacements | None) -> CompiledExecution:
    from manyheads.execution.inductor.execution import InductorExecution
    from manyheads.execution.inductor.patches import patch_compiler

    if device == "cpu":
        patch_compiler()
    return InductorExecution(dtype, replacements, use_cuda_graphs=device == "cuda", options=OPTIONS[device])


def _torch_compile(device: str, dtype: torch.dtype, replacements: Replacements | None) -> CompiledExecution:
    return TorchCompileExecution(dtype, replacements, use_cuda_graphs=device == "cuda")


def _eager(device: str, dtype: torch.dtype, replacements: Replacements | None) -> Execution:
    return Execution(dtype)


WAYS: Mapping[str, Callable[[str, torch.dtype, Replacements | None], Execution]] = {
    "quick compiler": _inductor,
    "torch.compile": _torch_compile,
    "eager": _eager,
}


def _check(execution: Execution, device: str) -> None:
    """Raises where a tiny layer has other results or gradients than eager execution has, alone or by their sum."""
    torch_state = torch.random.get_rng_state()
    try:
        layer, x = nn.Linear(4, 4).to(device), torch.linspace(-1, 1, 8, device=device).view(2, 4)
    finally:
        torch.random.set_rng_state(torch_state)
    for compile in (execution.compile, execution.compile_loss):
        found = [
            torch.autograd.grad(sum(function(layer, x), torch.zeros((), device=device)), [*layer.parameters()])
            for function in (_tiny, compile(_tiny))
        ]
        torch.testing.assert_close(found[1], found[0])
    with torch.no_grad():
        torch.testing.assert_close(execution.compile(_tiny)(layer, x), _tiny(layer, x))


def _tiny(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    y = layer(x).tanh()
    return y.square().mean(), (y * x).sum()


@cache
def _say_once(text: str) -> None:
    print(text, file=sys.stderr)
