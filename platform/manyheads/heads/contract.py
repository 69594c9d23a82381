"""What a head promises: it acts on a world's latent state and learns one task there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from manyheads.heads.kind import HeadKind as HeadKind

if TYPE_CHECKING:
    from manyheads.world.model import Latent, World

Loss = Tensor | Callable[[], Tensor]
"""a scalar, or a function that gives it, which may run in another thread, or stream of a GPU, while others are traced
back: its graph shares nothing with theirs or with the batch, it draws no random numbers, and it writes nothing that
they read"""


def found_now(loss: Loss) -> Tensor:
    """The loss, called for where it is a function."""
    return loss if isinstance(loss, Tensor) else loss()


class HeadBatch(NamedTuple):
    """What one head learns from: B sequences of T posterior states and their labels."""

    latents: Latent
    """deter (B, T, D), stoch (B, T, G, C); attached to the world's graph in joint training"""
    reward: Tensor
    """(B, T) float32, 0 where first"""
    terminal: Tensor
    """(B, T) bool: the simulator's terminal or the task's own"""
    last: Tensor
    """(B, T) bool: the stored episode ends here"""
    owned: Tensor
    """(B, T) bool: rows on which the labels hold; other rows train nothing of this head"""
    starts: Tensor | None = None
    """(K,) int64: sequences to imagine from, where several heads share a batch; None: all"""

    def to_imagine(self) -> HeadBatch:
        """The sequences that imagination starts from."""
        if self.starts is None:
            return self
        latents = self.latents.map(lambda x: x[self.starts])
        return HeadBatch(latents, *(x[self.starts] for x in self[1:5] if x is not None))


class Head(nn.Module, ABC):
    """One task's learner on the latent state; see `actor_critic` for the standard one.

    On a GPU acting and whole updates are captured and repeated: what changes is kept in tensors, in place, and none is
    read.
    """

    @abstractmethod
    def act(self, latent: Latent, generator: torch.Generator | None = None) -> Tensor:
        """A sampled flat action (N, A) for N states; unclipped."""

    @property
    def independent(self) -> bool:
        """Whether `losses` changes nothing but this head, so that other heads' may be found at the same time in another
        thread, or stream of a GPU."""
        return False

    @abstractmethod
    def losses(self, batch: HeadBatch, world: World, generator: torch.Generator | None = None) -> Mapping[str, Loss]:
        """Scalar losses by name, already scaled; their sum is minimised."""

    def after_update(self) -> None:
        """Called once after each optimiser step (slow copies, schedules)."""

    def metrics(self) -> dict[str, float | Tensor]:
        """Numbers of the last `losses` call worth plotting."""
        return {}
