"""A function of tensors as a graph of operations: with its gradients, or with a second graph for the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._functorch.partitioners import min_cut_rematerialization_partition
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functionalize
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.fx.graph import CodeGen
from torch.utils._pytree import TreeSpec, tree_flatten

from manyheads.world.kinds import refill

Run = Callable[..., Any]
"""of tensors, to a sequence of tensors"""

WRITES = (
    "{name} writes to its arguments, and gradients are wanted of it. Such a region makes tensors of tensors, and no "
    "more: return what is to be written, and write it outside."
)


class Traced(NamedTuple):
    """What a function does with arguments of one kind."""

    name: str
    forth: GraphModule
    """from tensors to what it makes; then to gradients of the sum of that, or to what the way back needs"""
    given: list[Tensor]
    """stand-ins, shapes without numbers; those in `made`, too"""
    made: list[Any]
    structure: TreeSpec
    """in which that is returned"""
    back: GraphModule | None = None
    """from what it needs, and gradients by what was made that can have some, to gradients by what wants some"""


def trace(function: Callable[..., Any], args: Sequence[Any], tensors: Sequence[Tensor], summed: bool = False) -> Traced:
    """Of arguments and the tensors in them (`kind_of`). Where one of those wants gradients, there is a way back; of
    what is trained by its sum alone (`summed`) gradients are found at once.

    A graph holds what the function computes, and nothing else that it does. Raises ValueError where it writes to its
    arguments and gradients are wanted.
    """
    mode = FakeTensorMode(shape_env=ShapeEnv())  # which holds nothing, but without one nothing is kept in the cache
    name, structures = function.__qualname__, list[TreeSpec]()
    wanted = [torch.is_grad_enabled() and x.requires_grad for x in tensors]
    given: list[Tensor] = [mode.from_tensor(x.detach(), static_shapes=True) for x in tensors]

    def call(given: Sequence[Tensor]) -> list[Any]:
        with ExitStack() as stack:
            made, structure = tree_flatten(function(*refill(args, iter(given), stack)))
        structures.append(structure)
        return made

    def tracked(given: Sequence[Tensor]) -> list[Tensor]:
        return [x.detach().requires_grad_() if own else x for x, own in zip(given, wanted, strict=True)]

    def joint(primals: Sequence[Tensor], tangents: Sequence[Tensor]) -> list[Any]:
        primals = tracked(primals)
        made.extend(call(primals))
        ends, starts = [*filter(graded, made)], [*filter(graded, primals)]
        by_ends = [torch.ones_like(end) for end in ends] if summed else tangents
        return [*made, *torch.autograd.grad(ends, starts, by_ends, allow_unused=True)] if ends else made

    made, by_made = list[Any](), list[Tensor]()
    if any(wanted) and not summed:
        with mode:
            by_made = [torch.empty_like(x) for x in filter(graded, call(tracked(given)))]
    graph = _graph(joint, given, by_made)
    made = [x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in made]
    if any(wanted) and any(map(_writes, graph.graph.nodes)):
        raise ValueError(WRITES.format(name=name))
    if not by_made:
        return Traced(name, graph, given, made, structures[-1])
    forth, back = min_cut_rematerialization_partition(graph, (given, by_made), num_fwd_outputs=len(made))
    return Traced(name, forth, given, made, structures[-1], back)


def _graph(joint: Callable[..., Any], primals: Sequence[Tensor], tangents: Sequence[Tensor]) -> GraphModule:
    """All that is computed; nothing is written but arguments, last of all. The compiler knows inputs by these names."""
    from torch._inductor.decomposition import select_decomp_table  # takes seconds

    table = select_decomp_table()
    graph = make_fx(joint, table, "fake")(primals, tangents)
    if any(map(_writes, graph.graph.nodes)):
        functional = functionalize(graph, remove="mutations")
        graph = make_fx(lambda primals, tangents: functional(primals, tangents), table, "fake")(primals, tangents)
    graph.graph.set_codegen(CodeGen())  # takes one tensor after the other, not two lists
    graph.recompile()
    if (
        primals[0].device.type != "cpu"
    ):  # pads products and the like; for a CPU it takes five seconds, and brings nothing
        from torch._inductor.fx_passes.joint_graph import joint_graph_passes

        joint_graph_passes(graph)
    return graph


def _writes(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def graded(x: Any) -> bool:
    """Whether gradients lead through it."""
    return isinstance(x, Tensor) and x.requires_grad
