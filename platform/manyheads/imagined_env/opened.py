"""What of a world is needed to imagine its episodes; `manyheads.load` gives such a thing."""

from __future__ import annotations

from typing import Protocol

from manyheads.storage.agent import Agent
from manyheads.storage.world_folder import WorldFolder
from manyheads.world.model import World


class OpenedWorld(Protocol):
    """A trained world."""

    @property
    def folder(self) -> WorldFolder: ...

    @property
    def model(self) -> World: ...

    @property
    def heads(self) -> tuple[str, ...]: ...

    def head(self, name: str) -> Agent: ...
