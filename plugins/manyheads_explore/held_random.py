"""A head that learns nothing and acts at random; it holds each action for a while, which gets further than shaking."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from manyheads import Head, HeadBatch, HeadContext, HeadKind, HeadLosses

if TYPE_CHECKING:
    from manyheads.blocks import Latent
    from manyheads.world.model import World


class HeldRandomSettings(BaseModel):
    """How long an action is held."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hold: float = Field(default=6.0, ge=1, description="steps that an action is held on average")


class HeldRandom(Head):
    """Uniform actions of the task's own entries; each step draws a new one with probability 1 / hold."""

    continuous: Tensor
    blocks: Tensor

    def __init__(self, context: HeadContext) -> None:
        super().__init__()
        self.change = 1 / context.settings.hold
        self.block_sizes = context.interface.blocks
        self.register_buffer("continuous", torch.from_numpy(context.mask.continuous).float(), persistent=False)
        self.register_buffer("blocks", torch.from_numpy(context.mask.blocks).float(), persistent=False)

    @property
    def learns(self) -> bool:
        return False

    @property
    def parallel_safe(self) -> bool:
        return True

    def initial_state(self, n: int) -> Tensor:
        """The action (n, A) that is held."""
        return torch.zeros(n, len(self.continuous) + sum(self.block_sizes), device=self.continuous.device)

    @torch.no_grad()
    def act(
        self,
        world: World,
        latent: Latent,
        state: Tensor,
        is_first: Tensor,
        generator: torch.Generator | None = None,
        signals: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        n, device = len(state), state.device
        parts = [(torch.rand(n, len(self.continuous), generator=generator, device=device) * 2 - 1) * self.continuous]
        for here, size in zip(self.blocks, self.block_sizes, strict=True):
            choice = torch.randint(size, (n, 1), generator=generator, device=device)
            parts.append((choice == torch.arange(size, device=device)).float() * here)
        changes = is_first | (torch.rand(n, generator=generator, device=device) < self.change)
        action = torch.where(changes[:, None], torch.cat(parts, -1), state)
        return action, action

    def losses(self, batch: HeadBatch, world: World, generator: torch.Generator | None = None) -> HeadLosses:
        """None: there is nothing to learn."""
        return HeadLosses({})


KIND = HeadKind(
    "explore/held_random",
    HeldRandomSettings,
    HeldRandom,
    "acts at random, each action held for some steps; nothing to train",
)
