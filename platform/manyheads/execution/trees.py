"""Tensors in nested tuples, lists and mappings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

from torch import Tensor

T = TypeVar("T")


def tree_tensors(tree: Any) -> Iterator[Tensor]:
    """The tensors in order; everything else is skipped."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for part in tree.values():
            yield from tree_tensors(part)
    elif isinstance(tree, tuple | list):
        for part in tree:
            yield from tree_tensors(part)


def map_tensors(function: Callable[[Tensor], Tensor], tree: T) -> T:
    """The same structure with `function` applied to each tensor; everything else stays. Mappings become dicts."""
    return cast("T", _mapped(function, tree))


def _mapped(function: Callable[[Tensor], Tensor], tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: _mapped(function, part) for key, part in tree.items()}
    if isinstance(tree, tuple | list):
        parts = [_mapped(function, part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree
