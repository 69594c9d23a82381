"""What a compiled function is called with, as a key: arguments with equal signatures share one graph."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.nn.utils.stateless import _reparametrize_module


def signature_of(x: Any, tensors: list[Tensor]) -> Hashable:
    """What a graph depends on: shapes, strides and types of tensors, the structure and settings of modules, and
    everything else by value. The tensors are appended to `tensors`."""
    if isinstance(x, Tensor):
        tensors.append(x)
        return x.shape, x.stride(), x.dtype, x.device
    if isinstance(x, nn.Module):
        parts = _parts_of(x)
        tensors.extend(parts.tensors)
        return nn.Module, parts.structure
    if isinstance(x, tuple | list):
        return type(x), *[signature_of(each, tensors) for each in x]
    if isinstance(x, dict):
        return tuple((key, signature_of(each, tensors)) for key, each in x.items())
    return type(x), x


def substitute_tensors(x: Any, given: Iterator[Tensor], stack: ExitStack) -> Any:
    """The same arguments with the `given` tensors, in the order of `signature_of`; modules hold them until `stack`
    ends."""
    if isinstance(x, Tensor):
        return next(given)
    if isinstance(x, nn.Module):
        stack.enter_context(_reparametrize_module(x, {name: next(given) for name in _parts_of(x).names}))
        return x
    if isinstance(x, tuple | list):
        each = [substitute_tensors(one, given, stack) for one in x]
        return type(x)(*each) if hasattr(x, "_fields") else type(x)(each)
    if isinstance(x, dict):
        return {key: substitute_tensors(each, given, stack) for key, each in x.items()}
    return x


class _Parts(NamedTuple):
    """The parameters and buffers of a module, and a number that equally built modules share."""

    structure: int
    names: list[str]
    tensors: list[Tensor]


_parts: WeakKeyDictionary[nn.Module, _Parts] = WeakKeyDictionary()
_structures: dict[Hashable, int] = {}
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def _parts_of(module: nn.Module) -> _Parts:
    """Looked up once: a module keeps its tensors and settings, and hashing its structure takes long."""
    if module not in _parts:
        named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        built_of = [(name, type(part), *_settings(part)) for name, part in module.named_modules()]
        tensors = [*named.values()]
        structure = _structures.setdefault((tuple(built_of), signature_of(tensors, [])), len(_structures))
        _parts[module] = _Parts(structure, [*named], tensors)
    return _parts[module]


def _settings(module: nn.Module) -> Iterator[Hashable]:
    """The attributes that a module was built with, lists and dicts by their contents; without those that it lists as
    `not_compiled`, for no compiled function reads them."""
    ignored = _OF_EVERY_MODULE.union(getattr(module, "not_compiled", ()))
    for name, value in vars(module).items():
        if name not in ignored:
            signature = signature_of(value, [])
            yield name, signature if _is_hashable(signature) else _Identity(value)


class _Identity:
    """Stands in a key for an object that has no hash. Holds the object, so that no later one can have its id."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _is_hashable(x: Hashable) -> bool:
    try:
        hash(x)
    except TypeError:
        return False
    return True
