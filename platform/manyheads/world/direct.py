"""Compiled functions, called straight: less is traced to compile one, and less done to call it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_unflatten

from manyheads.world.kinds import kind_of
from manyheads.world.traced import Traced, trace

R = TypeVar("R")
Run = Callable[..., Any]
"""of tensors, to a sequence of tensors"""


class _Graph(NamedTuple):
    """A function's, for one kind of arguments."""

    forth: Run
    back: Run | None
    made: list[Any]
    """stand-ins"""
    structure: TreeSpec


class Direct(Generic[R]):
    """A function from tensors, modules, and tuples, lists and dicts of them, to tensors.

    It becomes one graph for each kind of arguments (`kind_of`), with a second one for its gradients where some are
    wanted. A graph holds what the function computes, and nothing else that it does.
    """

    def __init__(self, function: Callable[..., R], compiler: Callable[[Traced], tuple[Run, Run | None]]) -> None:
        self._function, self._compiler = function, compiler
        self._graphs: dict[Hashable, _Graph] = {}

    def __call__(self, *args: Any) -> R:
        tensors: list[Tensor] = []
        graph = self._graph(args, tensors)
        leaves = graph.forth(*tensors) if graph.back is None else _Differentiable.apply(graph, *tensors)  # type: ignore[no-untyped-call]
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
            traced = trace(self._function, args, tensors)
            self._graphs[kind] = _Graph(*self._compiler(traced), traced.made, traced.structure)
        return self._graphs[kind]


class _Differentiable(torch.autograd.Function):
    """What a graph makes, with the way back."""

    @staticmethod
    def forward(ctx: Any, graph: _Graph, *tensors: Tensor) -> tuple[Any, ...]:
        found = graph.forth(*tensors)
        made, needed = found[: len(graph.made)], found[len(graph.made) :]
        ctx.graph = graph
        ctx.save_for_backward(*needed)
        ctx.set_materialize_grads(False)
        fixed = [x for x, like in zip(made, graph.made, strict=True) if isinstance(x, Tensor) and not _graded(like)]
        ctx.mark_non_differentiable(*fixed)
        return tuple(made)

    @staticmethod
    def backward(ctx: Any, *by_made: Tensor | None) -> tuple[Tensor | None, ...]:
        back, pairs = ctx.graph.back, zip(by_made, ctx.graph.made, strict=True)
        gradients = iter(back(*ctx.saved_tensors, *(_laid_out(by, like) for by, like in pairs if _graded(like))))
        return None, *(next(gradients) if wanted else None for wanted in ctx.needs_input_grad[1:])


def _graded(like: Any) -> bool:
    return isinstance(like, Tensor) and like.requires_grad


def _laid_out(gradient: Tensor | None, like: Tensor) -> Tensor:
    """A gradient in the order in memory that a graph was compiled for; none is zero."""
    if gradient is not None and gradient.stride() == like.stride():
        return gradient
    made = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device=like.device)
    return made.zero_() if gradient is None else made.copy_(gradient)
