"""Compiled functions without gradients, called straight: less is traced to compile one, and less done to call it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack
from typing import Any, Generic, NamedTuple, TypeVar, cast
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils.stateless import _reparametrize_module
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

R = TypeVar("R")
Run = Callable[..., Any]
"""of tensors, to a sequence of tensors"""


class _Graph(NamedTuple):
    """A function's, for one kind of arguments."""

    run: Run
    made: list[Any]
    """stand-ins"""
    structure: TreeSpec


class Direct(Generic[R]):
    """A function from tensors, modules, and tuples, lists and dicts of them, to tensors.

    It becomes one graph for each kind of arguments: their shapes, types and order in memory, what modules are made of,
    and everything else by value. A graph holds what the function computes, and nothing else that it does.
    """

    def __init__(self, function: Callable[..., R], compiler: Callable[[GraphModule, list[Tensor]], Run]) -> None:
        self._function, self._compiler = function, compiler
        self._graphs: dict[Hashable, _Graph] = {}

    def __call__(self, *args: Any) -> R:
        tensors: list[Tensor] = []
        graph = self._graph(args, tensors)
        made: R = tree_unflatten(graph.run(*tensors), graph.structure)
        return made

    def stand_ins(self, *args: Any) -> R:
        """Of what it makes from such arguments; it is compiled for them, not called."""
        graph = self._graph(args, [])
        made: R = tree_unflatten(graph.made, graph.structure)
        return made

    def _graph(self, args: Any, tensors: list[Tensor]) -> _Graph:
        kind = kind_of(args, tensors)
        if kind not in self._graphs:
            self._graphs[kind] = self._trace(args, tensors)
        return self._graphs[kind]

    def _trace(self, args: Any, tensors: list[Tensor]) -> _Graph:
        structure: list[TreeSpec] = []

        def flat(*given: Tensor) -> list[Any]:
            with ExitStack() as stack:
                leaves, spec = tree_flatten(self._function(*_refill(args, iter(given), stack)))
            structure.append(spec)
            return leaves

        graph = make_fx(flat, tracing_mode="fake")(*tensors)
        seen = [node.meta["val"] for node in graph.graph.find_nodes(op="placeholder")]  # of real ones nothing is cached
        found = cast(list[Any], graph.graph.output_node().args[0])
        made = [node.meta["val"] if isinstance(node, Node) else node for node in found]
        return _Graph(self._compiler(graph, seen), made, structure[-1])


class _Parts(NamedTuple):
    """Of a module."""

    kind: int
    """a number for all that are made alike: what they are made of takes long to hash"""
    names: list[str]
    tensors: list[Tensor]


_parts: WeakKeyDictionary[nn.Module, _Parts] = WeakKeyDictionary()
_kinds: dict[Hashable, int] = {}
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def _parts_of(module: nn.Module) -> _Parts:
    """A module keeps its tensors and settings, so this is found out once."""
    if module not in _parts:
        named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        made_of = [(name, type(part), *_settings(part)) for name, part in module.named_modules()]
        tensors = [*named.values()]
        kind = _kinds.setdefault((tuple(made_of), kind_of(tensors, [])), len(_kinds))
        _parts[module] = _Parts(kind, [*named], tensors)
    return _parts[module]


def _settings(module: nn.Module) -> Iterator[Hashable]:
    """What a module was made with; what can't be compared counts as its own."""
    for name, value in vars(module).items():
        if name not in _OF_EVERY_MODULE:
            yield name, value if isinstance(value, Hashable) else id(value)


def kind_of(x: Any, tensors: list[Tensor]) -> Hashable:
    """What the graph depends on; the tensors that it takes are added to `tensors`."""
    if isinstance(x, Tensor):
        tensors.append(x)
        return x.shape, x.stride(), x.dtype, x.device
    if isinstance(x, nn.Module):
        parts = _parts_of(x)
        tensors.extend(parts.tensors)
        return nn.Module, parts.kind
    if isinstance(x, tuple | list):
        return type(x), *[kind_of(each, tensors) for each in x]
    if isinstance(x, dict):
        return tuple((key, kind_of(each, tensors)) for key, each in x.items())
    return type(x), x


def _refill(x: Any, given: Iterator[Tensor], stack: ExitStack) -> Any:
    """The same arguments with the `given` tensors in the order of `kind_of`; modules have them until `stack` ends."""
    if isinstance(x, Tensor):
        return next(given)
    if isinstance(x, nn.Module):
        stack.enter_context(_reparametrize_module(x, {name: next(given) for name in _parts_of(x).names}))
        return x
    if isinstance(x, tuple | list):
        each = [_refill(one, given, stack) for one in x]
        return type(x)(*each) if hasattr(x, "_fields") else type(x)(each)
    if isinstance(x, dict):
        return {key: _refill(each, given, stack) for key, each in x.items()}
    return x
