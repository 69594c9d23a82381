"""A kind of head under a name: what plugins register. Imports no torch, so listing is quick."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from manyheads.imports import load_object

if TYPE_CHECKING:
    from manyheads.environment.contract import Signal
    from manyheads.environment.layout import Mask, SpaceLayout
    from manyheads.heads.contract import Head
    from manyheads.rewards.contract import RewardSource
    from manyheads.rewards.nodes import Success
    from manyheads.world.sizes import WorldSettings


@dataclass(frozen=True)
class HeadTask:
    """The task that a head learns."""

    name: str
    source: RewardSource
    signals: tuple[Signal, ...]
    """everything that its environment measures"""
    success: Success | None = None
    dynamics_key: str = ""
    """of its environment: what `World.readout` is asked by"""


@dataclass(frozen=True)
class HeadContext:
    """What a head is built for."""

    interface: SpaceLayout
    """the world's observation and action entries"""
    mask: Mask
    """which of them the task's environment has"""
    world: WorldSettings
    """the world's sizes"""
    task: HeadTask
    settings: Any
    """checked by the kind's `settings` model"""


@dataclass(frozen=True)
class HeadKind:
    """A kind of head: `settings` checks what is set, `build(context)` makes one."""

    name: str
    settings: type[BaseModel]
    build: Callable[[HeadContext], Head]
    description: str = ""

    def load(self) -> HeadKind:
        return self


@dataclass(frozen=True)
class LazyHeadKind:
    """A head kind by its import path, `package.module:KIND`: imported on first use, as it imports torch."""

    name: str
    where: str
    description: str = ""

    def load(self) -> HeadKind:
        """The kind itself; raises ManyheadsError where `where` does not lead to one of this name."""
        return load_object(self.where, HeadKind, what=f"head kind {self.name!r}")
