"""A function of tensors on a CUDA device, captured as one graph of kernels: thousands of launches become one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from manyheads.errors import ManyheadsError
from manyheads.execution.trees import map_tensors, tree_tensors

R = TypeVar("R")
Shapes = tuple[tuple[torch.Size, torch.dtype], ...]

WARM_CALLS = 3
"""calls that run eagerly before one is captured: the first ones compile and allocate"""


class CudaGraphFunction(Generic[R]):
    """Calls `function` from a CUDA graph, one graph for each combination of shapes (torch.cuda.CUDAGraph's notes).

    The function must not wait for the device; all its state lies on the device and is changed in place; random numbers
    come from `generators`. It always gets the same input tensors, into which the arguments are copied. What a call
    returns is valid until the next call, which overwrites it.
    """

    def __init__(self, function: Callable[..., R], generators: Iterable[torch.Generator]) -> None:
        self._function, self._generators = function, tuple(generators)
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._calls: dict[Shapes, _Calls[R]] = {}

    def __call__(self, *inputs: Any) -> R:
        shapes = tuple((x.shape, x.dtype) for x in tree_tensors(inputs))
        if shapes not in self._calls:
            self._calls[shapes] = _Calls(map_tensors(torch.clone, inputs))
        calls = self._calls[shapes]
        for fixed, given in zip(tree_tensors(calls.inputs), tree_tensors(inputs), strict=True):
            fixed.copy_(given, non_blocking=True)
        if calls.warm < WARM_CALLS:
            calls.warm += 1
            return self._run_eagerly(calls.inputs)
        if calls.captured is None:
            calls.captured = self._capture(calls.inputs)
        graph, outputs = calls.captured
        graph.replay()
        return outputs

    def _run_eagerly(self, inputs: tuple[Any, ...]) -> R:
        """On the stream that captures, as CUDA requires."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            outputs = self._function(*inputs)
        torch.cuda.current_stream().wait_stream(self._stream)
        return outputs

    def _capture(self, inputs: tuple[Any, ...]) -> tuple[torch.cuda.CUDAGraph, R]:
        """Records the function's kernels without running them."""
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                outputs = self._function(*inputs)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise ManyheadsError(
                f"This can't be captured as a CUDA graph: {str(error).splitlines()[0]}. Does a head read numbers, or "
                "make tensors on the CPU, in act, losses or after_update? It must not; --set training.compile=false "
                "runs without a graph, several times slower."
            ) from error
        return graph, outputs


@dataclass
class _Calls(Generic[R]):
    """The calls with one combination of shapes, and the memory that they read and write."""

    inputs: tuple[Any, ...]
    warm: int = 0
    captured: tuple[torch.cuda.CUDAGraph, R] | None = None


def run_on_streams(functions: Sequence[Callable[[], R]]) -> list[R]:
    """Calls the first function as usual and each other one on a separate stream, so that the device runs them in
    parallel."""
    current, results = torch.cuda.current_stream(), []
    for function in functions[1:]:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            results.append((stream, function()))
    first = functions[0]()
    for stream, _ in results:
        current.wait_stream(stream)
    return [first, *(result for _, result in results)]
