"""A function of tensors as a graph of operations: with its gradients, or with a second graph for the backward pass."""

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

from manyheads.execution.inductor.signature import substitute_tensors

Run = Callable[..., Any]
"""from tensors to a sequence of tensors"""

WRITES = (
    "{name} writes to its arguments, and gradients are needed of it. A compiled function maps tensors to tensors and "
    "does no more: return what is to be written, and write it outside."
)


class TracedFunction(NamedTuple):
    """What a function computes for arguments of one signature."""

    name: str
    forward: GraphModule
    """from inputs to outputs, followed by the gradients of their sum, or by what the backward graph needs"""
    example_inputs: list[Tensor]
    """fake tensors: shapes without numbers; so are those in `example_outputs`"""
    example_outputs: list[Any]
    structure: TreeSpec
    """the tree that the outputs are returned in"""
    backward: GraphModule | None = None
    """from what it needs, and gradients of the differentiable outputs, to gradients of the differentiable inputs"""


def trace(
    function: Callable[..., Any], args: Sequence[Any], tensors: Sequence[Tensor], summed: bool = False
) -> TracedFunction:
    """Traces `function` for arguments and the tensors in them (`signature_of`).

    Where a tensor requires gradients there is a backward graph; a function whose outputs are minimised by their sum
    (`summed`) has its gradients in the forward graph instead. A graph holds what the function computes and none of its
    side effects. Raises ValueError where it writes to its arguments and gradients are needed.
    """
    mode = FakeTensorMode(shape_env=ShapeEnv())  # unused, but without one the compiler caches nothing
    name, structures = function.__qualname__, list[TreeSpec]()
    differentiable = [torch.is_grad_enabled() and x.requires_grad for x in tensors]
    inputs: list[Tensor] = [mode.from_tensor(x.detach(), static_shapes=True) for x in tensors]

    def call(given: Sequence[Tensor]) -> list[Any]:
        with ExitStack() as stack:
            outputs, structure = tree_flatten(function(*substitute_tensors(args, iter(given), stack)))
        structures.append(structure)
        return outputs

    def tracked(given: Sequence[Tensor]) -> list[Tensor]:
        return [x.detach().requires_grad_() if own else x for x, own in zip(given, differentiable, strict=True)]

    def joint(primals: Sequence[Tensor], tangents: Sequence[Tensor]) -> list[Any]:
        primals = tracked(primals)
        outputs.extend(call(primals))
        ends, starts = [*filter(requires_grad, outputs)], [*filter(requires_grad, primals)]
        end_gradients = [torch.ones_like(end) for end in ends] if summed else tangents
        return [*outputs, *torch.autograd.grad(ends, starts, end_gradients, allow_unused=True)] if ends else outputs

    outputs, output_gradients = list[Any](), list[Tensor]()
    if any(differentiable) and not summed:
        with mode:
            output_gradients = [torch.empty_like(x) for x in filter(requires_grad, call(tracked(inputs)))]
    graph = _graph(joint, inputs, output_gradients)
    outputs = [x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in outputs]
    if any(differentiable) and any(map(_writes, graph.graph.nodes)):
        raise ValueError(WRITES.format(name=name))
    if not output_gradients:
        return TracedFunction(name, graph, inputs, outputs, structures[-1])
    forward, backward = min_cut_rematerialization_partition(
        graph, (inputs, output_gradients), num_fwd_outputs=len(outputs)
    )
    return TracedFunction(name, forward, inputs, outputs, structures[-1], backward)


def _graph(joint: Callable[..., Any], primals: Sequence[Tensor], tangents: Sequence[Tensor]) -> GraphModule:
    """All that is computed; only arguments are written, last of all. The compiler knows inputs by these names."""
    from torch._inductor.decomposition import select_decomp_table  # takes seconds

    table = select_decomp_table()
    graph = make_fx(joint, table, "fake")(primals, tangents)
    if any(map(_writes, graph.graph.nodes)):
        functional = functionalize(graph, remove="mutations")
        graph = make_fx(lambda primals, tangents: functional(primals, tangents), table, "fake")(primals, tangents)
    graph.graph.set_codegen(CodeGen())  # takes one tensor after the other, not two lists
    graph.recompile()
    if primals[0].device.type != "cpu":  # pads products and the like; on a CPU five seconds for nothing
        from torch._inductor.fx_passes.joint_graph import joint_graph_passes

        joint_graph_passes(graph)
    return graph


def _writes(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def requires_grad(x: Any) -> bool:
    """Whether gradients flow through it."""
    return isinstance(x, Tensor) and x.requires_grad
