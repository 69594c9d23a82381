"""From graphs to what a machine runs, by torch's inductor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx import GraphModule, Node

from manyheads.world.traced import Run, Traced


@torch.no_grad()
def compiled(traced: Traced, options: Mapping[str, Any]) -> tuple[Run, Run | None]:
    """The way forth and the way back, called with one tensor after the other; `options` are inductor's.

    Raises errors of torch's compiler alone.
    """
    from torch._inductor import config  # takes seconds
    from torch._inductor.virtualized import V

    mode = next(x.fake_mode for x in traced.given if isinstance(x, FakeTensor))
    with config.patch(dict(options)), V.set_fake_mode(mode), tracing(TracingContext(mode)):
        if traced.back is None:
            return _run(traced.forth, traced.given, inference=True), None
        with TracingContext.report_output_strides() as strides:
            forth = _run(traced.forth, traced.given, len(traced.made))
        needed: list[Tensor] = [node.meta["val"] for node in traced.back.graph.find_nodes(op="placeholder")]
        for i, order in enumerate((strides or [])[len(traced.made) :]):
            if order is not None and needed[i].stride() != order:  # the compiler chose another order in memory
                needed[i] = needed[i].as_strided(needed[i].shape, order)
        return forth, _run(traced.back, needed, back=True)


def _run(
    graph: GraphModule,
    tensors: Sequence[Tensor],
    seen: int | None = None,
    inference: bool = False,
    back: bool = False,
) -> Run:
    """So many results, or all, keep their order in memory, for others see them."""
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx_inner

    output = graph.graph.output_node()
    made = cast(Sequence[Any], output.args[0])[:seen]
    output.meta["user_visible_output_idxs"] = [i for i, node in enumerate(made) if isinstance(node, Node)]
    wrapper = config.cpp_wrapper
    run: Run = compile_fx_inner(graph, tensors, cpp_wrapper=wrapper, is_inference=inference, is_backward=back)
    return lambda *given: run([*given])
