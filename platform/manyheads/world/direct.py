"""Compiled functions, called straight: less is traced to compile one, and less done to call it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_unflatten

from manyheads.world.kinds import kind_of
from manyheads.world.traced import Run, Traced, graded, trace

R = TypeVar("R")


class _Graph(NamedTuple):
    """A function's, for one kind of arguments."""

    forth: Run
    back: Run | None
    made: list[Any]
    """stand-ins"""
    structure: TreeSpec


class Direct(Generic[R]):
    """A function from tensors, modules, and tuples, lists and dicts of them, to tensors.

    It becomes one graph for each kind of arguments (`kind_of`). Where gradients are wanted there is a second one for
    them; what is trained by its sum alone (`summed`) needs none. A graph holds what the function computes, and nothing
    else that it does.
    """

    def __init__(
        self, function: Callable[..., R], compiler: Callable[[Traced], tuple[Run, Run | None]], summed: bool = False
    ) -> None:
        self._function, self._compiler, self._summed = function, compiler, summed
        self._graphs: dict[Hashable, _Graph] = {}

    def __call__(self, *args: Any) -> R:
        tensors: list[Tensor] = []
        graph = self._graph(args, tensors)
        if graph.back is not None:
            leaves = _Differentiable.apply(graph, *tensors)  # type: ignore[no-untyped-call]
        elif any(map(graded, graph.made)):
            leaves = _Summed.apply(graph, *tensors)  # type: ignore[no-untyped-call]
        else:
            leaves = graph.forth(*tensors)
        made: R = tree_unflatten(leaves, graph.structure)
        return made

    def stand_ins(self, *args: Any) -> R:
        """Of what it makes from such arguments; it is compiled for them, not called."""
        graph = self._graph(args, [])
        made: R = tree_unflatten(graph.made, graph.structure)
        return made

    def _graph(self, args: Any, tensors: list[Tensor]) -> _Graph:
        kind: Hashable = kind_of(args, tensors)
        if torch.is_grad_enabled() and any(wanted := [x.requires_grad for x in tensors]):
            kind = kind, *wanted
        if kind not in self._graphs:
            traced = trace(self._function, args, tensors, self._summed)
            self._graphs[kind] = _Graph(*self._compiler(traced), traced.made, traced.structure)
        return self._graphs[kind]


class _Differentiable(torch.autograd.Function):
    """What a graph makes, with the way back."""

    @staticmethod
    def forward(ctx: Any, graph: _Graph, *tensors: Tensor) -> tuple[Any, ...]:
        made, needed = _called(ctx, graph, tensors)
        ctx.graph = graph
        ctx.save_for_backward(*needed)
        return made

    @staticmethod
    def backward(ctx: Any, *by_made: Tensor | None) -> tuple[Tensor | None, ...]:
        back, pairs = ctx.graph.back, zip(by_made, ctx.graph.made, strict=True)
        gradients = iter(back(*ctx.saved_tensors, *(_laid_out(by, like) for by, like in pairs if graded(like))))
        return None, *(next(gradients) if wanted else None for wanted in ctx.needs_input_grad[1:])


class _Summed(torch.autograd.Function):
    """What a graph makes, and the gradients of its sum."""

    @staticmethod
    def forward(ctx: Any, graph: _Graph, *tensors: Tensor) -> tuple[Any, ...]:
        made, ctx.gradients = _called(ctx, graph, tensors)
        return made

    @staticmethod
    def backward(ctx: Any, *by_made: Tensor | None) -> tuple[Tensor | None, ...]:
        by_sum = next(by for by in by_made if by is not None)
        gradients = iter(ctx.gradients)
        wanted = (next(gradients) if wanted else None for wanted in ctx.needs_input_grad[1:])
        return None, *(None if gradient is None else by_sum * gradient for gradient in wanted)


def _called(ctx: Any, graph: _Graph, tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], Sequence[Tensor]]:
    """What a graph makes, and all else that it gives."""
    found = graph.forth(*tensors)
    made = tuple(found[: len(graph.made)])
    fixed = [x for x, like in zip(made, graph.made, strict=True) if isinstance(x, Tensor) and not graded(like)]
    ctx.mark_non_differentiable(*fixed)
    ctx.set_materialize_grads(False)
    return made, found[len(made) :]


def _laid_out(gradient: Tensor | None, like: Tensor) -> Tensor:
    """A gradient in the order in memory that a graph was compiled for; none is zero."""
    if gradient is not None and gradient.stride() == like.stride():
        return gradient
    made = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device=like.device)
    return made.zero_() if gradient is None else made.copy_(gradient)
