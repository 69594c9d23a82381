"""Functions as graphs that are called straight."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.utils._pytree import tree_leaves

from manyheads.execution.inductor.compiled_function import CompiledFunction
from manyheads.execution.inductor.execution import InductorExecution


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

    def compiler(traced):
        graphs.append(traced)
        return traced.forward, traced.backward

    return CompiledFunction(mixed, compiler), graphs


def uncompiled(traced):
    return traced.forward, traced.backward


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

    call, x, out = CompiledFunction(write, uncompiled), torch.randn(3), torch.zeros(5)
    for _ in range(2):
        out.zero_()
        torch.testing.assert_close(call(out[1:4], x), x - 1)
        torch.testing.assert_close(out[1:4], x + 1)
        assert out[0] == out[4] == 0


def gradients(function, args, by):
    """Of some sum of what it makes; a module's, and those of tensors."""
    made = tree_leaves(function(*args))
    return torch.autograd.grad(sum((x.square() * (i + 1)).sum() for i, x in enumerate(made)), by, allow_unused=True)


def test_gradients_are_the_functions(direct):
    call, graphs = direct
    for _ in range(2):
        module, pair, named, times = arguments(Scale(2.0))
        pair.left.requires_grad_()
        by = [pair.left, *module.parameters()]
        args = module, pair, named, times
        torch.testing.assert_close(gradients(call, args, by), gradients(mixed, args, by))
    assert len(graphs) == 1
    pair.right.requires_grad_()
    torch.testing.assert_close(gradients(call, args, [*by, pair.right]), gradients(mixed, args, [*by, pair.right]))
    assert len(graphs) == 2


def test_gradients_in_any_order_in_memory_and_of_nothing():
    def two(x, y):
        return {"sum": x + y, "other": x * 2, "fixed": (y > 0).float(), "none": None}

    call, x, y = (
        CompiledFunction(two, uncompiled),
        torch.randn(3, 4, requires_grad=True),
        torch.randn(3, 4, requires_grad=True),
    )
    made = call(x, y)
    assert made["none"] is None
    assert not made["fixed"].requires_grad
    made["sum"].mean().backward()  # spreads one number
    torch.testing.assert_close(x.grad, torch.full((3, 4), 1 / 12))
    torch.testing.assert_close(y.grad, x.grad)
    made = call(x, y)
    made["other"].T.backward(torch.arange(12.0).view(4, 3))
    torch.testing.assert_close(x.grad, 1 / 12 + 2 * torch.arange(12.0).view(4, 3).T)


def test_what_is_trained_by_its_sum_is_one_graph_with_its_gradients():
    def losses(module, x):
        made = module(x)
        return {"mean": made.mean(), "square": made.square().sum()}, made.detach()

    graphs = []

    def compiler(traced):
        graphs.append(traced)
        return uncompiled(traced)

    call, module, x = CompiledFunction(losses, compiler, summed=True), Scale(2.0), torch.randn(2, 3, requires_grad=True)
    by, found = [x, *module.parameters()], []
    for function in (losses, call, call):
        terms, made = function(module, x)
        assert not made.requires_grad
        found.append((terms, made, torch.autograd.grad(3 * sum(terms.values()), by)))
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])
    (graph,) = graphs
    assert graph.backward is None
    with torch.no_grad():
        torch.testing.assert_close(call(module, x), losses(module, x))


def test_what_wants_no_gradients_gives_none(direct):
    call, graphs = direct
    args = arguments(Scale(2.0).requires_grad_(False))
    assert not call(*args)[0]["sum"].requires_grad
    with torch.no_grad():
        call(*args)
    assert len(graphs) == 1


def test_writing_inside_is_no_writing():
    def inside(x):
        y = x * 2
        y[0] += 1
        return y

    call, x = CompiledFunction(inside, uncompiled), torch.randn(3, requires_grad=True)
    torch.testing.assert_close(call(x), inside(x))
    torch.testing.assert_close(gradients(call, (x,), [x]), gradients(inside, (x,), [x]))


def test_a_region_with_gradients_that_writes_to_its_arguments_says_so():
    def writes(x, y):
        y.add_(x.detach())
        return x * y

    with pytest.raises(ValueError, match=r"writes writes to its arguments.* return what is to be written"):
        CompiledFunction(writes, uncompiled)(torch.randn(3, requires_grad=True), torch.zeros(3))


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("wrapper", [True, False], ids=["as on a CPU", "as on a GPU"])
def test_what_was_compiled_is_found_in_the_cache(wrapper, graded, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    counters["inductor"].clear()
    for _ in range(2):  # each with graphs of its own, as another run would have
        call = InductorExecution(options={"cpp_wrapper": wrapper}).compile(mixed)
        args = arguments(Scale(2.0))
        with torch.set_grad_enabled(graded):
            torch.testing.assert_close(call(*args), mixed(*args))
        if graded:
            by = [*args[0].parameters()]
            torch.testing.assert_close(gradients(call, args, by), gradients(mixed, args, by))
    graphs = 1 + graded
    assert counters["inductor"]["fxgraph_cache_miss"] == counters["inductor"]["fxgraph_cache_hit"] == graphs
    assert counters["inductor"]["fxgraph_cache_bypass"] == 0
