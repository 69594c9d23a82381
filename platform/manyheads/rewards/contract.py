"""A reward source: a view over rows of experience that says what a task pays and where it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel

if TYPE_CHECKING:
    from torch import Tensor, nn

    from manyheads.environment.contract import Instance
    from manyheads.world.sizes import WorldSettings


class Labels(NamedTuple):
    """`reward` earned on arriving at each row (0 where it starts an episode); where the task itself ends."""

    reward: Any
    terminated: Any


class Steps(NamedTuple):
    """Labels with the memory (..., M) after each row."""

    reward: Any
    """float32"""
    terminated: Any
    """bool"""
    memory: Any
    """float32"""


@runtime_checkable
class RewardSource(Protocol):
    """What a plugin's reward source must offer; `SignalSource` is the base that has most of it.

    `signals` are the names that it reads. `own_rows_only` is true where labels hold only on rows of the task's very own
    instance (the simulator's reward), false where any instance with the same signals will do. What it remembers of an
    episode is `memory_size` numbers, of a fixed count so that a head sees them; 0 where a row's labels depend on that
    row alone. A source that `reads` latents is a `LatentRewardSource`. It is given copies, its own tensors
    environment's rows, and changes nothing outside itself.
    """

    memory_size: int
    own_rows_only: bool

    @property
    def reads(self) -> Literal["signals", "latents"]: ...

    @property
    def signals(self) -> frozenset[str]: ...

    def init(self, n: int) -> Any:
        """The memory (n, M) float32 of n episodes that have not begun."""

    def step(self, signals: Mapping[str, Any], memory: Any, is_first: Any) -> Steps:
        """One row (N,) of each of N episodes, from the memory (N, M) before it. Where `is_first`, that is void."""

    def unroll(self, signals: Mapping[str, Any], is_first: Any, memory: Any = None) -> Steps:
        """`step` over rows (T, ...) that follow one another; without memory (..., M) nothing before row 0 is known."""

    def label(self, signals: Mapping[str, Any], is_first: Any = None) -> Labels:
        """Labels rows (T, ...), as float32 reward and bool terminated of that shape; axis 0 is time.

        Without `is_first`, row 0 starts an episode. NumPy arrays give NumPy arrays. Rows of any shape will do for a
        source without memory.
        """


class LatentRows(NamedTuple):
    """The transitions into (B, T) rows, without gradients into the world."""

    previous_feature: Tensor
    """(B, T, F) of the latent before each row"""
    previous_action: Tensor
    """(B, T, A) taken there"""
    feature: Tensor
    """(B, T, F) of each row's own latent: deter, then stoch"""
    valid: Tensor
    """(B, T) bool: the row continues the one before; elsewhere reward is 0"""


@runtime_checkable
class LatentRewardSource(RewardSource, Protocol):
    """A source whose reward is computed from latents, by networks that learn while the world does.

    `networks` makes a module with `forward(rows) -> reward (B, T)` and `loss(rows) -> (loss (), metrics)`, trained by
    its own optimiser. `label` says what signals alone tell of the reward.
    """

    def networks(self, world: WorldSettings, action_size: int) -> nn.Module: ...


@dataclass(frozen=True)
class RewardKind:
    """A kind of reward source: `settings` checks what a task file says of it, `build` makes the source."""

    name: str
    settings: type[BaseModel]
    build: Callable[[Any, Instance], RewardSource]
    description: str = ""
