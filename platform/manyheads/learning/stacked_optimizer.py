"""`LaProp` of all heads of a stack at once: each head keeps its own averages, counts and clipping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from manyheads.execution.eager import Execution
from manyheads.heads.stack import HeadStack
from manyheads.learning.optimizer import LaProp, drop_gradients, filled_gradients, laprop


class StackedLaProp:
    """One step of every head's optimiser. `members` are the heads' own, whose averages become views of rows of this
    one's, so that their state is saved and restored as if each head were alone."""

    def __init__(self, stack: HeadStack, members: Mapping[str, LaProp]) -> None:
        self.stack = stack
        self.members: dict[str, LaProp] = {}
        first = next(iter(members.values()))
        self.settings = first.settings
        own = dict(stack.module.named_parameters())
        self._parameters = [own[name] for name in first.parameters]
        square, _, count = first.averages
        self._square = square.new_zeros(stack.room, len(square))
        self._momentum = torch.zeros_like(self._square)
        self._count = count.new_zeros(stack.room)
        for name, member in members.items():
            self.add(name, member)

    def add(self, name: str, member: LaProp) -> None:
        """Takes over the averages of a head that is in the stack."""
        self.members[name], place = member, self.stack.places[name]
        for rows, kept in zip((self._square, self._momentum, self._count), member.averages, strict=True):
            rows[place] = kept
        member.averages = self._square[place], self._momentum[place], self._count[place]

    def remove(self, name: str) -> None:
        """Gives a head's averages back to its own optimiser, and clears the place."""
        member, place = self.members.pop(name), self.stack.places[name]
        square, momentum, count = (kept.clone() for kept in member.averages)
        member.averages = square, momentum, count
        for rows in (self._square, self._momentum, self._count):
            rows[place] = 0

    @torch.no_grad()
    def gradients(self) -> list[Tensor]:
        """Of each tensor (room, ...), zeros where it has none."""
        return filled_gradients(self._parameters)

    @torch.no_grad()
    def gradient_norms(self) -> Tensor:
        """Euclidean norm of each head's gradient of each tensor (room, tensors), before clipping."""
        return _norms(self.gradients())

    @torch.no_grad()
    def step(self, norms: Tensor, execution: Execution) -> None:
        """One step of every head from the gradients, whose `gradient_norms` these are; then drops them."""
        s = self.settings
        excess = (norms / (s.agc * _norms(self._parameters).clamp(min=s.agc_pmin))).clamp(min=1)
        pairs = zip(self.gradients(), excess.unbind(1), strict=True)
        gradient = torch.cat([own.flatten(1) / by[:, None] for own, by in pairs], 1)
        late = {name: member.late_elements(gradient[self.stack.places[name]]) for name, member in self._grown()}
        bias, rate = (x[:, None] for x in LaProp.corrections(s, self._count))
        change = execution.compile(laprop)(gradient, self._square, self._momentum, bias, rate, s)
        for name, elements in late.items():
            self.members[name].correct_late(elements, change[self.stack.places[name]])
        self._count += 1
        start = 0
        for parameter in self._parameters:
            size = parameter[0].numel()
            parameter.sub_(change[:, start : start + size].view_as(parameter))
            start += size
        self.zero_grad()

    def zero_grad(self) -> None:
        """Drops the gradients."""
        drop_gradients(self._parameters)

    def _grown(self) -> list[tuple[str, LaProp]]:
        return [(name, member) for name, member in self.members.items() if member.has_late]


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([torch.linalg.vector_norm(x.flatten(1), dim=1) for x in tensors], 1)
