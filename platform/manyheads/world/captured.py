"""A function of tensors on a CUDA device as one graph of kernels: thousands of launches become one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from manyheads.errors import ManyheadsError

R = TypeVar("R")
Shapes = tuple[tuple[torch.Size, torch.dtype], ...]

WARM_CALLS = 3
"""calls that run as they are before one is captured: the first ones compile and allocate"""


class Captured(Generic[R]):
    """Calls `function` from a CUDA graph, one for each choice of shapes; source: torch.cuda.CUDAGraph's notes.

    The function must not wait for the device, and all its state lies on the device and is changed in place; random
    numbers come from `generators`. It always gets the same tensors, which take in what is given. What a call returns
    holds until the next call, which writes over it.
    """

    def __init__(self, function: Callable[..., R], generators: Iterable[torch.Generator]) -> None:
        self._function, self._generators = function, tuple(generators)
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._calls: dict[Shapes, _Calls[R]] = {}

    def __call__(self, *inputs: Any) -> R:
        shapes = tuple((x.shape, x.dtype) for x in tensors(inputs))
        if shapes not in self._calls:
            self._calls[shapes] = _Calls(map_tensors(torch.clone, inputs))
        calls = self._calls[shapes]
        for fixed, given in zip(tensors(calls.inputs), tensors(inputs), strict=True):
            fixed.copy_(given, non_blocking=True)
        if calls.warm < WARM_CALLS:
            calls.warm += 1
            return self._aside(calls.inputs)
        if calls.captured is None:
            calls.captured = self._capture(calls.inputs)
        graph, outputs = calls.captured
        graph.replay()
        return outputs

    def _aside(self, inputs: tuple[Any, ...]) -> R:
        """On the stream that captures, as CUDA asks for."""
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
                f"This can't be captured as one graph of the device: {str(error).splitlines()[0]}. Does a head read "
                "numbers, or make tensors on the CPU, in its act, losses, metrics or after_update? It must not; "
                "--set training.compile=false runs without a graph, several times slower."
            ) from error
        return graph, outputs


@dataclass
class _Calls(Generic[R]):
    """Those of one choice of shapes, and the memory that they read and write."""

    inputs: tuple[Any, ...]
    warm: int = 0
    captured: tuple[torch.cuda.CUDAGraph, R] | None = None


def on_streams(works: Sequence[Callable[[], R]]) -> list[R]:
    """Calls the first work as usual, each other one on a stream of its own: the device has them beside each other."""
    here, made = torch.cuda.current_stream(), []
    for work in works[1:]:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(here)
        with torch.cuda.stream(side):
            made.append((side, work()))
    first = works[0]()
    for side, _ in made:
        here.wait_stream(side)
    return [first, *(other for _, other in made)]


def tensors(tree: Any) -> Iterator[Tensor]:
    """The tensors in tuples, lists and mappings, in order; all else is passed over."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for part in tree.values():
            yield from tensors(part)
    elif isinstance(tree, tuple | list):
        for part in tree:
            yield from tensors(part)


def map_tensors(function: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """The same tuples, lists and dicts with `function` of each tensor; all else stays."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: map_tensors(function, part) for key, part in tree.items()}
    if isinstance(tree, tuple | list):
        parts = [map_tensors(function, part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree
