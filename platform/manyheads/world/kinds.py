"""What a region is called with, as a key: arguments of one kind share one graph."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.nn.utils.stateless import _reparametrize_module


def kind_of(x: Any, tensors: list[Tensor]) -> Hashable:
    """What a graph depends on: tensors' shapes, types and order in memory, what modules are made of, and everything
    else by value. The tensors are added to `tensors`."""
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


def refill(x: Any, given: Iterator[Tensor], stack: ExitStack) -> Any:
    """The same arguments with the `given` tensors in the order of `kind_of`; modules have them until `stack` ends."""
    if isinstance(x, Tensor):
        return next(given)
    if isinstance(x, nn.Module):
        stack.enter_context(_reparametrize_module(x, {name: next(given) for name in _parts_of(x).names}))
        return x
    if isinstance(x, tuple | list):
        each = [refill(one, given, stack) for one in x]
        return type(x)(*each) if hasattr(x, "_fields") else type(x)(each)
    if isinstance(x, dict):
        return {key: refill(each, given, stack) for key, each in x.items()}
    return x


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
    """What a module was made with, lists and dicts by what is in them; what can't be compared counts as its own."""
    for name, value in vars(module).items():
        if name not in _OF_EVERY_MODULE:
            kind = kind_of(value, [])
            yield name, kind if _hashes(kind) else id(value)


def _hashes(x: Hashable) -> bool:
    try:
        hash(x)
    except TypeError:
        return False
    return True
