"""Tensors read by the names of the entries that their columns and rows belong to.

A world's layout grows at several ends: one more continuous action moves the one-hot blocks behind it. So a module
declares which of its tensors have an axis with one index per entry, and what was saved under an earlier layout is
mapped by name.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from manyheads.environment.layout import SpaceLayout

Entries = Callable[[SpaceLayout], Sequence[Hashable]]
"""Distinct names in the order of an axis; empty where a layout has no use for the tensor."""


class LayoutAxis(NamedTuple):
    """How a tensor follows the layout."""

    axis: int | None
    """the axis with one index per entry; None: the tensor keeps its shape, but is there only where `entries` are"""
    entries: Entries


@runtime_checkable
class FollowsLayout(Protocol):
    """A module whose tensors follow the world's layout: in a head, layers that read or give actions."""

    def layout_axes(self) -> Mapping[str, LayoutAxis]:
        """By the name of the tensor in this module's `state_dict`."""


def vector_entries(layout: SpaceLayout) -> Sequence[Hashable]:
    """Entries of observation vectors."""
    return layout.vector


def channel_entries(layout: SpaceLayout) -> Sequence[Hashable]:
    """Channels of the image."""
    return range(layout.image[2]) if layout.image else ()


def continuous_entries(layout: SpaceLayout) -> Sequence[Hashable]:
    """Continuous actions."""
    return layout.continuous


def choice_entries(layout: SpaceLayout) -> Sequence[Hashable]:
    """Choices of all one-hot blocks, block by block."""
    return [(block, choice) for block in layout.discrete for choice in range(block[1])]


def action_entries(layout: SpaceLayout) -> Sequence[Hashable]:
    """Entries of flat actions (A)."""
    return [*continuous_entries(layout), *choice_entries(layout)]


def present_with(entries: Entries, prefix: str, module: nn.Module) -> dict[str, LayoutAxis]:
    """Declares all tensors of a module as there only where the layout has such entries."""
    return {f"{prefix}.{name}": LayoutAxis(None, entries) for name in module.state_dict()}


def declared_axes(module: nn.Module) -> dict[str, LayoutAxis]:
    """What a module and those inside it declare, by the tensors' full names."""
    return {
        f"{prefix}.{name}" if prefix else name: axis
        for prefix, inner in module.named_modules()
        if isinstance(inner, FollowsLayout)
        for name, axis in inner.layout_axes().items()
    }


@dataclass(frozen=True)
class Growth:
    """The way from tensors that were saved under the layout `saved` to those of a module for `layout`, which may have
    more entries."""

    axes: Mapping[str, LayoutAxis]
    saved: SpaceLayout
    layout: SpaceLayout

    @classmethod
    def of(cls, module: nn.Module, saved: SpaceLayout, layout: SpaceLayout) -> Growth:
        return cls(declared_axes(module), saved, layout)

    def is_new(self, name: str) -> bool:
        """Whether the saved layout had no use for this tensor."""
        return name in self.axes and not self.axes[name].entries(self.saved)

    @torch.no_grad()
    def remap(self, tensors: Mapping[str, Tensor], fresh: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The saved tensors, each index under the entry of its name; new entries and new tensors as in `fresh`.

        Tensors that are not declared, or do not fit what is declared, are returned as they are: whoever loads them
        compares shapes anyway.
        """
        found = dict(tensors)
        for name, (axis, entries) in self.axes.items():
            if name not in fresh:
                continue
            if self.is_new(name):
                found[name] = fresh[name]
            elif axis is not None and name in tensors:
                found[name] = _place(tensors[name], fresh[name], axis, entries(self.saved), entries(self.layout))
        return found

    def weights(self, tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """A module's state: weights of new entries are 0, which leaves all outputs for the others as they were; new
        networks and new entries of buffers are those that `module` was built with."""
        fresh, parameters = module.state_dict(), dict(module.named_parameters())
        for name, (axis, _) in self.axes.items():
            if axis is not None and name in parameters and not self.is_new(name):
                fresh[name] = torch.zeros_like(fresh[name])
        return self.remap(tensors, fresh)


def _place(saved: Tensor, fresh: Tensor, axis: int, before: Sequence[Hashable], now: Sequence[Hashable]) -> Tensor:
    fits = saved.shape[axis] == len(before) and fresh.shape[axis] == len(now)
    if not fits or saved.narrow(axis, 0, 0).shape != fresh.narrow(axis, 0, 0).shape:
        return saved
    position = {entry: index for index, entry in enumerate(now)}
    index = torch.tensor([position[entry] for entry in before], dtype=torch.int64, device=fresh.device)
    return fresh.index_copy(axis, index, saved.to(fresh))
