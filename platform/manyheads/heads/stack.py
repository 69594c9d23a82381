"""Heads of one kind and shape as one batch: their weights lie side by side, and one computation trains them all.

One by one (`Head.losses`) is the definition; a stack has the same numbers up to rounding, and none of a head's numbers
depends on its neighbours' weights, labels or random numbers.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from manyheads.errors import ManyheadsError
from manyheads.heads.contract import Head, HeadBatch, Loss

if TYPE_CHECKING:
    from manyheads.world.model import World

CONSTANTS = frozenset({"bins", "levels", "own"})
"""buffers that are not stacked: equal in all heads, or read by each head alone"""


class StackLosses(NamedTuple):
    """What a stack of K heads learns from."""

    losses: Mapping[str, Loss]
    """by name: sums over the heads, whose sum is minimised; the metrics of a deferred one are (K,), too"""
    metrics: Mapping[str, Tensor]
    """(K,) each, each head's own; its losses are among them, or among the metrics of deferred losses"""
    new_state: Mapping[str, Tensor]
    """(K, ...) new values of the heads' buffers"""


class HeadStack(ABC):
    """Up to `room` heads of one class whose `key` is equal, by name.

    `module` is a head like them whose tensors have a first axis of `room`; the tensors of a head in the stack are views
    of it, so that what one of them learns or loads the other has. Places that no head has are computed with the rest
    and learn nothing, so that a head may join without a new shape.
    """

    def __init__(self, heads: Mapping[str, Head], room: int = 0) -> None:
        first = next(iter(heads.values()))
        self.room = max(room, len(heads))
        self.heads: dict[str, Head] = {}
        self.places: dict[str, int] = {}
        self.module = stacked_module(first, self.room)
        self.shared_key = self.key(first)
        for name, head in heads.items():
            self.add(name, head)

    @staticmethod
    @abstractmethod
    def key(head: Head) -> Hashable:
        """Heads with equal keys may share a stack; None: this one trains by itself."""

    @abstractmethod
    def losses(
        self, batches: Mapping[str, HeadBatch], world: World, generators: Mapping[str, torch.Generator]
    ) -> StackLosses:
        """The losses of one update; no attribute is written."""

    @property
    def is_full(self) -> bool:
        return len(self.places) == self.room

    def add(self, name: str, head: Head) -> int:
        """Takes a head into a free place, as it is, and returns which."""
        if self.key(head) != self.shared_key:
            raise ManyheadsError(f"{name} is of another kind or shape than the heads {', '.join(self.heads)}.")
        place = next(i for i in range(self.room) if i not in self.places.values())
        for own, stacked in _pairs(head, self.module):
            stacked.data[place] = own.data
            own.data = stacked.data[place]
        self.heads[name], self.places[name] = head, place
        return place

    def remove(self, name: str) -> int:
        """Lets a head go, its tensors its own again; returns the place that is free now."""
        for own, _ in _pairs(self.heads.pop(name), self.module):
            own.data = own.data.clone()
        return self.places.pop(name)

    @torch.no_grad()
    def after_update(self, new_state: Mapping[str, Tensor]) -> None:
        """Writes `new_state` into all heads, as `Head.after_update` does in one."""
        self.module.after_update(new_state)

    def batch(self, batches: Mapping[str, HeadBatch]) -> HeadBatch:
        """The heads' batches as one: what is each head's own has a first axis of `room`, rows are shared; a free place
        owns no row."""
        first = next(iter(batches.values()))

        def of_all(part: str) -> Tensor:
            empty = torch.zeros_like(getattr(first, part))
            return self.side_by_side({name: getattr(own, part) for name, own in batches.items()}, empty)

        return first._replace(
            reward=of_all("reward"),
            is_terminal=of_all("is_terminal"),
            mask=of_all("mask"),
            start_index=None if first.start_index is None else of_all("start_index"),
        )

    def side_by_side(self, tensors: Mapping[str, Tensor], empty: Tensor) -> Tensor:
        """(room, ...) from each head's tensor; `empty` in free places."""
        found: list[Tensor] = [empty] * self.room
        for name, place in self.places.items():
            found[place] = tensors[name]
        return torch.stack(found)


def stacked_module(head: Head, room: int) -> Head:
    """A head like this one whose tensors have a first axis of `room`, each place as in `head`."""
    shared = {id(value): value for name, value in vars(head).items() if name in getattr(head, "not_compiled", ())}
    module = copy.deepcopy(head, shared)
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            setattr(part, name, nn.Parameter(_repeated(parameter, room), parameter.requires_grad))
        for name, buffer in part.named_buffers(recurse=False):
            if name not in CONSTANTS:
                setattr(part, name, _repeated(buffer, room))
    return module


def over_heads(function: Callable[..., Any], dims: Sequence[Any], only: str = "") -> Callable[..., Any]:
    """`function` of K heads at once: its first arguments are stacked modules, whose tensors have a first axis of K, and
    so have those of its other arguments where `dims` is 0, not None. So have the results.

    `only`: the part of the modules that it reads, to leave out the rest.
    """

    @wraps(function)
    def call(*args: Any) -> Any:
        count = len(args) - len(dims)
        parts = _Call(function, args[:count])
        tensors = {
            name: x
            for name, x in (*parts.named_parameters(), *parts.named_buffers())
            if name.rpartition(".")[2] not in CONSTANTS and only in name
        }

        def one(tensors: dict[str, Tensor], *others: Any) -> Any:
            return functional_call(parts, tensors, others)

        return vmap(one, in_dims=(0, *dims))(tensors, *args[count:])

    return call


class _Call(nn.Module):
    """A function of modules as a module, so that `functional_call` may give it other tensors."""

    def __init__(self, function: Callable[..., Any], modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.function, self.modules_ = function, nn.ModuleList(modules)

    def forward(self, *args: Any) -> Any:
        return self.function(*self.modules_, *args)


def _repeated(x: Tensor, room: int) -> Tensor:
    return x.detach().expand(room, *x.shape).clone()


def _pairs(head: Head, module: Head) -> list[tuple[Tensor, Tensor]]:
    """The head's tensors and the stacked ones."""
    stacked = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    own = {**dict(head.named_parameters()), **dict(head.named_buffers())}
    return [(x, stacked[name]) for name, x in own.items() if name.rpartition(".")[2] not in CONSTANTS]
