"""A kind of head under a name: what plugins register. Imports no torch, so listing is quick."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from manyheads.imports import load_object

if TYPE_CHECKING:
    from manyheads.environment.places import Mask, Places
    from manyheads.heads.contract import Head
    from manyheads.world.model import World


@dataclass(frozen=True)
class HeadKind:
    """A kind of head: `settings` checks what is set, `build(interface, mask, world, settings)` makes one."""

    name: str
    settings: type[BaseModel]
    build: Callable[[Places, Mask, World, Any], Head]
    says: str = ""

    def load(self) -> HeadKind:
        return self


@dataclass(frozen=True)
class LazyHeadKind:
    """A head kind by its place, `package.module:KIND`: imported on first use, as it imports torch."""

    name: str
    where: str
    says: str = ""

    def load(self) -> HeadKind:
        """The kind itself; raises ManyheadsError where `where` does not lead to one of this name."""
        return load_object(self.where, HeadKind, what=f"head kind {self.name!r}")
