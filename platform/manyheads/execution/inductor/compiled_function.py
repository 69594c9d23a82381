"""Compiled functions, called directly: less is traced to compile one, and less is done to call it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_unflatten

from manyheads.execution.inductor.signature import signature_of
from manyheads.execution.inductor.trace import Run, TracedFunction, requires_grad, trace

R = TypeVar("R")


class _Graph(NamedTuple):
    """The compiled graphs for one signature."""

    forward: Run
    backward: Run | None
    example_outputs: list[Any]
    structure: TreeSpec


class CompiledFunction(Generic[R]):
    """A function from tensors, modules, and tuples, lists and dicts of them, to tensors.

    It becomes one graph for each signature of its arguments, with a second one for gradients where they are needed; a
    function that is minimised by the sum of its outputs (`summed`) has its gradients in the first. A graph holds what
    the function computes and none of its side effects.
    """

    def __init__(
        self,
        function: Callable[..., R],
        compiler: Callable[[TracedFunction], tuple[Run, Run | None]],
        summed: bool = False,
    ) -> None:
        self._function, self._compiler, self._summed = function, compiler, summed
        self._graphs: dict[Hashable, _Graph] = {}

    def __call__(self, *args: Any) -> R:
        tensors: list[Tensor] = []
        graph = self._graph(args, tensors)
        if graph.backward is not None:
            leaves = _Differentiable.apply(graph, *tensors)  # type: ignore[no-untyped-call]
        elif any(map(requires_grad, graph.example_outputs)):
            leaves = _Summed.apply(graph, *tensors)  # type: ignore[no-untyped-call]
        else:
            leaves = graph.forward(*tensors)
        outputs: R = tree_unflatten(leaves, graph.structure)
        return outputs

    def example_outputs(self, *args: Any) -> R:
        """Fake tensors with the shapes of what it returns; compiles it for such arguments without calling it."""
        graph = self._graph(args, [])
        outputs: R = tree_unflatten(graph.example_outputs, graph.structure)
        return outputs

    def _graph(self, args: Any, tensors: list[Tensor]) -> _Graph:
        key: Hashable = signature_of(args, tensors)
        if torch.is_grad_enabled() and any(differentiable := [x.requires_grad for x in tensors]):
            key = key, *differentiable
        if key not in self._graphs:
            traced = trace(self._function, args, tensors, self._summed)
            self._graphs[key] = _Graph(*self._compiler(traced), traced.example_outputs, traced.structure)
        return self._graphs[key]


class _Differentiable(torch.autograd.Function):
    """The outputs of a graph, with its backward graph."""

    @staticmethod
    def forward(ctx: Any, graph: _Graph, *tensors: Tensor) -> tuple[Any, ...]:
        outputs, needed = _call(ctx, graph, tensors)
        ctx.graph = graph
        ctx.save_for_backward(*needed)
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        pairs = zip(gradients, ctx.graph.example_outputs, strict=True)
        dense = (_with_strides(gradient, like) for gradient, like in pairs if requires_grad(like))
        found = iter(ctx.graph.backward(*ctx.saved_tensors, *dense))
        return None, *(next(found) if needed else None for needed in ctx.needs_input_grad[1:])


class _Summed(torch.autograd.Function):
    """The outputs of a graph, and the gradients of their sum."""

    @staticmethod
    def forward(ctx: Any, graph: _Graph, *tensors: Tensor) -> tuple[Any, ...]:
        outputs, ctx.gradients = _call(ctx, graph, tensors)
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        of_sum = next(gradient for gradient in gradients if gradient is not None)
        found = iter(ctx.gradients)
        own = (next(found) if needed else None for needed in ctx.needs_input_grad[1:])
        return None, *(None if gradient is None else of_sum * gradient for gradient in own)


def _call(ctx: Any, graph: _Graph, tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], Sequence[Tensor]]:
    """The outputs of the forward graph, and everything that it returns after them."""
    found = graph.forward(*tensors)
    outputs = tuple(found[: len(graph.example_outputs)])
    pairs = zip(outputs, graph.example_outputs, strict=True)
    ctx.mark_non_differentiable(*(x for x, like in pairs if isinstance(x, Tensor) and not requires_grad(like)))
    ctx.set_materialize_grads(False)
    return outputs, found[len(outputs) :]


def _with_strides(gradient: Tensor | None, like: Tensor) -> Tensor:
    """A gradient with the strides that the graph was compiled for; None is zero."""
    if gradient is not None and gradient.stride() == like.stride():
        return gradient
    dense = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device=like.device)
    return dense.zero_() if gradient is None else dense.copy_(gradient)
