"""Functions without gradients, as graphs that are called straight."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from manyheads.world.direct import Direct
from manyheads.world.execution import Compiled


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


class Scale(nn.Module):
    def __init__(self, by, size=3):
        super().__init__()
        self.by = by
        self.weight = nn.Parameter(torch.ones(size))
        self.register_buffer("shift", torch.zeros(size))

    def forward(self, x):
        return x * self.weight * self.by + self.shift


def mixed(module: Scale, pair: Pair, named: dict[str, Tensor], times: int) -> tuple[dict[str, Tensor], list[Tensor]]:
    for _ in range(times):
        pair = Pair(module(pair.left), pair.right + named["more"])
    return {"sum": pair.left + pair.right}, [pair.left]


@pytest.fixture
def direct():
    """The traced graphs, run by torch's own operations, and what was traced."""
    graphs = []

    def compiler(graph, tensors):
        graphs.append(graph)
        return graph

    return Direct(mixed, compiler), graphs


def arguments(module, rows=2, times=2):
    return module, Pair(torch.randn(rows, 3), torch.randn(rows, 3)), {"more": torch.randn(rows, 3)}, times


@torch.no_grad()
def test_it_gives_what_the_function_gives(direct):
    call, graphs = direct
    for _ in range(2):
        args = arguments(Scale(2.0))
        torch.testing.assert_close(call(*args), mixed(*args))
    assert len(graphs) == 1


@torch.no_grad()
def test_modules_made_alike_share_a_graph_and_keep_their_own_weights(direct):
    call, graphs = direct
    one, other = Scale(2.0), Scale(2.0)
    other.weight.fill_(5)
    other.shift.fill_(7)
    args = arguments(one)
    call(*args)
    one.weight.mul_(3)
    for module in (one, other):
        torch.testing.assert_close(call(module, *args[1:]), mixed(module, *args[1:]))
    assert len(graphs) == 1


@torch.no_grad()
@pytest.mark.parametrize(
    "args",
    [arguments(Scale(3.0)), arguments(Scale(2.0), rows=4), arguments(Scale(2.0), times=3)],
    ids=["another setting", "other shapes", "another number"],
)
def test_other_arguments_have_a_graph_of_their_own(direct, args):
    call, graphs = direct
    call(*arguments(Scale(2.0)))
    torch.testing.assert_close(call(*args), mixed(*args))
    assert len(graphs) == 2


@torch.no_grad()
def test_it_writes_to_its_arguments():
    def write(out: Tensor, x: Tensor) -> Tensor:
        out.copy_(x + 1)
        return x - 1

    call, x, out = Direct(write, lambda graph, tensors: graph), torch.randn(3), torch.zeros(5)
    for _ in range(2):
        out.zero_()
        torch.testing.assert_close(call(out[1:4], x), x - 1)
        torch.testing.assert_close(out[1:4], x + 1)
        assert out[0] == out[4] == 0


@pytest.mark.parametrize("wrapper", [True, False], ids=["as on a CPU", "as on a GPU"])
def test_what_was_compiled_is_found_in_the_cache(wrapper, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    counters["inductor"].clear()
    for _ in range(2):  # each with graphs of its own, as another run would have
        call = Compiled(options={"cpp_wrapper": wrapper}).region(mixed)
        with torch.no_grad():
            args = arguments(Scale(2.0))
            torch.testing.assert_close(call(*args), mixed(*args))
    assert counters["inductor"]["fxgraph_cache_miss"] == counters["inductor"]["fxgraph_cache_hit"] == 1
    assert counters["inductor"]["fxgraph_cache_bypass"] == 0
