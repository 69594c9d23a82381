"""Acting: each slot's latent state follows its observations, each slot's head chooses the action."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from manyheads.environment.places import Places
from manyheads.heads.contract import Head
from manyheads.world.model import Latent, World


class Acted(NamedTuple):
    """One lock-step of acting: flat actions (N, A) as sampled, and the latents they were chosen in."""

    action: npt.NDArray[np.float32]
    deter: npt.NDArray[np.float32]
    stoch: npt.NDArray[np.float32]


class Policies:
    """Drives N slots; slot i follows the head `policies[i]`, or acts uniformly at random where that is None."""

    def __init__(self, world: World, heads: Mapping[str, Head], policies: Sequence[str | None], seed: int) -> None:
        self.world, self.heads, self.policies = world, heads, tuple(policies)
        self.device = world.device
        self._generator = torch.Generator(self.device).manual_seed(seed)
        self._slots = {
            name: torch.tensor([i for i, own in enumerate(policies) if own == name], device=self.device)
            for name in dict.fromkeys(policies)
        }
        size = len(self.policies)
        self._latent = world.initial(size)
        self._action = torch.zeros(size, world.interface.action_size, device=self.device)
        self._follow = world.execution.whole(self._step, [self._generator])

    @torch.no_grad()
    def act(
        self,
        image: npt.NDArray[np.uint8] | None,
        vector: npt.NDArray[np.float32],
        first: npt.NDArray[np.bool_],
    ) -> Acted:
        """Advances all latents by one observation each and samples an action for each slot."""
        pixels = None if image is None else torch.from_numpy(image).to(self.device)
        action, latent = self._follow(
            pixels, torch.from_numpy(vector).to(self.device), torch.from_numpy(first).to(self.device)
        )
        return Acted(action.cpu().numpy(), latent.deter.cpu().numpy(), latent.stoch.cpu().numpy())

    def _step(self, pixels: Tensor | None, vector: Tensor, first: Tensor) -> tuple[Tensor, Latent]:
        noise = self.world.draw_noise(len(self.policies), generator=self._generator)
        latent = self.world.step(pixels, vector, self._action, first, self._latent, noise)
        action = torch.zeros_like(self._action)
        for name, slots in self._slots.items():
            if name is None:
                action[slots] = random_action(self.world.interface, len(slots), self._generator)
            else:
                chosen = Latent(latent.deter[slots], latent.stoch[slots])
                action[slots] = self.heads[name].act(chosen, self._generator)
        self._remember(action, latent)
        return action, latent

    def _remember(self, action: Tensor, latent: Latent) -> None:
        """In place: on a GPU a captured step reads and writes these tensors."""
        self._action.copy_(action)
        self._latent.deter.copy_(latent.deter)
        self._latent.stoch.copy_(latent.stoch)

    def state(self) -> dict[str, Tensor]:
        """What a bit-exact continuation needs."""
        return {
            "deter": self._latent.deter,
            "stoch": self._latent.stoch,
            "action": self._action,
            "generator": self._generator.get_state(),
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        self._remember(state["action"], Latent(state["deter"], state["stoch"]))
        self._generator.set_state(state["generator"])


def random_action(interface: Places, count: int, generator: torch.Generator) -> Tensor:
    """Uniform flat actions (count, A): continuous places in [-1, 1], one choice of each block."""
    device = generator.device
    parts = [torch.rand(count, len(interface.continuous), generator=generator, device=device) * 2 - 1]
    for size in interface.blocks:
        choice = torch.randint(size, (count, 1), generator=generator, device=device)
        parts.append((choice == torch.arange(size, device=device)).float())
    return torch.cat(parts, dim=-1)
