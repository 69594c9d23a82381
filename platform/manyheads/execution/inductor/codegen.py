"""From traced graphs to machine code, by torch's inductor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx import GraphModule, Node

from manyheads.execution.inductor.trace import Run, TracedFunction


@torch.no_grad()
def generate_code(traced: TracedFunction, options: Mapping[str, Any]) -> tuple[Run, Run | None]:
    """The forward and the backward pass, called with one tensor after the other; `options` are inductor's.

    Raises errors of torch's compiler alone.
    """
    from torch._inductor import config  # takes seconds
    from torch._inductor.virtualized import V

    mode = next(x.fake_mode for x in traced.example_inputs if isinstance(x, FakeTensor))
    with config.patch(dict(options)), V.set_fake_mode(mode), tracing(TracingContext(mode)):
        if traced.backward is None:
            return _compile(traced.forward, traced.example_inputs, is_inference=True), None
        num_outputs = len(traced.example_outputs)
        with TracingContext.report_output_strides() as strides:
            forward = _compile(traced.forward, traced.example_inputs, num_outputs)
        needed: list[Tensor] = [node.meta["val"] for node in traced.backward.graph.find_nodes(op="placeholder")]
        for i, stride in enumerate((strides or [])[num_outputs:]):
            if stride is not None and needed[i].stride() != stride:  # the compiler chose another memory layout
                needed[i] = needed[i].as_strided(needed[i].shape, stride)
        return forward, _compile(traced.backward, needed, is_backward=True)


def _compile(
    graph: GraphModule,
    inputs: Sequence[Tensor],
    num_visible: int | None = None,
    is_inference: bool = False,
    is_backward: bool = False,
) -> Run:
    """The first `num_visible` outputs (None: all) keep their memory layout, for the caller sees them."""
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx_inner

    output = graph.graph.output_node()
    visible = cast(Sequence[Any], output.args[0])[:num_visible]
    output.meta["user_visible_output_idxs"] = [i for i, node in enumerate(visible) if isinstance(node, Node)]
    run: Run = compile_fx_inner(
        graph, inputs, cpp_wrapper=config.cpp_wrapper, is_inference=is_inference, is_backward=is_backward
    )
    return lambda *given: run([*given])
