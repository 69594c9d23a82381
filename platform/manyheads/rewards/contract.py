"""A reward source: a view over rows of experience that says what a task pays and where it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel

if TYPE_CHECKING:
    from manyheads.environment.contract import Instance


class Labels(NamedTuple):
    """`reward` earned on arriving at each row (0 where it starts an episode); where the task itself ends."""

    reward: Any
    terminated: Any


@runtime_checkable
class RewardSource(Protocol):
    """What a plugin's reward source must offer.

    `reads` and `memory` say what it needs (latents and memories are room left for later kinds). `signals` are
    the names that it reads. `own_rows_only` is true where labels hold only on rows of the task's very own
    instance (the simulator's reward), false where any instance with the same signals will do.
    """

    reads: Literal["signals"]
    memory: Literal["none"]
    own_rows_only: bool

    @property
    def signals(self) -> frozenset[str]: ...

    def label(self, signals: Mapping[str, Any], is_first: Any = None) -> Labels:
        """Labels rows of any one shape, as float32 reward and bool terminated of that shape.

        Without `is_first`, axis 0 is time and row 0 starts an episode. NumPy arrays give NumPy arrays.
        """


@dataclass(frozen=True)
class RewardKind:
    """A kind of reward source: `settings` checks what a task file says of it, `build` makes the source."""

    name: str
    settings: type[BaseModel]
    build: Callable[[Any, Instance], RewardSource]
    description: str = ""
