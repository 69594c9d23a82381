"""Which heads train together: those of one kind and shape as a stack, every other one on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from manyheads.execution.eager import Execution
from manyheads.heads.contract import Head, HeadBatch, HeadLosses
from manyheads.heads.stack import HeadStack, StackLosses
from manyheads.heads.stacked_actor_critic import ActorCriticStack
from manyheads.learning.optimizer import LaProp
from manyheads.learning.stacked_optimizer import StackedLaProp
from manyheads.world.model import World

STACKS: Sequence[type[HeadStack]] = (ActorCriticStack,)
"""the kinds of stack"""
LEAST = 3
"""alike heads from which on a stack is faster than one after the other (benchmarks/heads.py)"""

Numbers = dict[str, Tensor]
Found = HeadLosses | StackLosses


class Optimizer(Protocol):
    """What `LaProp` and `StackedLaProp` have in common."""

    def gradients(self) -> list[Tensor]: ...
    def gradient_norms(self) -> Tensor: ...
    def step(self, norms: Tensor, execution: Execution) -> None: ...
    def zero_grad(self) -> None: ...


class OneHead:
    """A head by itself."""

    def __init__(self, name: str, head: Head, optimizer: LaProp | None) -> None:
        self.label, self.names, self.head = name, (name,), head
        self.optimizer: Optimizer | None = optimizer
        self.parallel_safe = head.parallel_safe

    def losses(
        self, batches: Mapping[str, HeadBatch], world: World, generators: Mapping[str, torch.Generator]
    ) -> HeadLosses:
        return self.head.losses(batches[self.label], world, generators[self.label])

    def numbers(self, losses: Mapping[str, Tensor], metrics: Mapping[str, Tensor]) -> tuple[Numbers, Numbers]:
        return self._named(losses), self._named(metrics)

    def norms(self, norms: Tensor) -> Numbers:
        return {f"{self.label}/gradient_norm": torch.linalg.vector_norm(norms)}

    def after_update(self, new_state: Mapping[str, Tensor]) -> None:
        self.head.after_update(new_state)

    def _named(self, numbers: Mapping[str, Tensor]) -> Numbers:
        return {f"{self.label}/{term}": value for term, value in numbers.items()}


class StackedHeads:
    """Heads that train as one batch."""

    parallel_safe = True

    def __init__(self, stack: HeadStack, optimizers: Mapping[str, LaProp]) -> None:
        self.stack = stack
        self.optimizer = StackedLaProp(stack, {name: optimizers[name] for name in stack.places})

    @property
    def names(self) -> Sequence[str]:
        return tuple(self.stack.places)

    @property
    def label(self) -> str:
        return "+".join(self.names)

    def takes(self, head: Head) -> bool:
        """Whether there is room for this head, which is like the others."""
        return not self.stack.is_full and self.stack.key(head) == self.stack.shared_key

    def add(self, name: str, head: Head, optimizer: LaProp) -> None:
        """Takes a head in."""
        self.stack.add(name, head)
        self.optimizer.add(name, optimizer)

    def remove(self, name: str) -> None:
        """Lets a head go."""
        self.optimizer.remove(name)
        self.stack.remove(name)

    def losses(
        self, batches: Mapping[str, HeadBatch], world: World, generators: Mapping[str, torch.Generator]
    ) -> StackLosses:
        return self.stack.losses({name: batches[name] for name in self.names}, world, generators)

    def numbers(self, losses: Mapping[str, Tensor], metrics: Mapping[str, Tensor]) -> tuple[Numbers, Numbers]:
        """The sums that are minimised are no head's own; each one's losses are among the metrics."""
        own = self._named({term: metrics[term] for term in losses})
        return own, self._named({term: value for term, value in metrics.items() if term not in losses})

    def norms(self, norms: Tensor) -> Numbers:
        return self._named({"gradient_norm": torch.linalg.vector_norm(norms, dim=1)})

    def after_update(self, new_state: Mapping[str, Tensor]) -> None:
        self.stack.after_update(new_state)

    def _named(self, numbers: Mapping[str, Tensor]) -> Numbers:
        rows = {term: value.unbind() for term, value in numbers.items()}
        return {f"{name}/{term}": row[place] for name, place in self.stack.places.items() for term, row in rows.items()}


HeadGroup = OneHead | StackedHeads
"""Heads whose losses are computed together: `losses` of all of them, whose sums are minimised under `label`; `numbers`
and `norms` are each head's own, by `NAME/TERM`."""


def group_heads(
    heads: Mapping[str, Head], optimizers: Mapping[str, LaProp], least: int = LEAST, room: int = 0
) -> list[HeadGroup]:
    """The heads in groups: stacks of those that are alike, where there are at least `least`, with places for `room`."""
    groups: list[HeadGroup] = []
    taken: set[str] = set()
    for kind in STACKS:
        for alike in _alike(kind, heads):
            if len(alike) >= max(1, least):
                groups.append(StackedHeads(kind({name: heads[name] for name in alike}, room), optimizers))
                taken.update(alike)
    groups += [OneHead(name, heads[name], optimizers.get(name)) for name in heads if name not in taken]
    return groups


def join_group(groups: list[HeadGroup], name: str, head: Head, optimizers: Mapping[str, LaProp]) -> None:
    """Puts a head into a stack of heads like it that has room, else in its own group."""
    for group in groups:
        if isinstance(group, StackedHeads) and group.takes(head):
            group.add(name, head, optimizers[name])
            return
    groups.append(OneHead(name, head, optimizers.get(name)))


def leave_group(groups: list[HeadGroup], name: str) -> None:
    """Takes a head out of its group, and the group away where it was the last."""
    group = next(group for group in groups if name in group.names)
    if isinstance(group, StackedHeads) and len(group.names) > 1:
        group.remove(name)
    else:
        groups.remove(group)


def _alike(kind: type[HeadStack], heads: Mapping[str, Head]) -> list[list[str]]:
    """Names of heads of equal key, group by group."""
    found: dict[object, list[str]] = {}
    for name, head in heads.items():
        if (key := kind.key(head)) is not None:
            found.setdefault(key, []).append(name)
    return [*found.values()]
