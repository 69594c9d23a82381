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
        self._slots = {name: [i for i, own in enumerate(policies) if own == name] for name in set(policies)}
        size = len(self.policies)
        self._latent = world.initial(size)
        self._action = torch.zeros(size, world.interface.action_size, device=self.device)

    @torch.no_grad()
    def act(
        self,
        image: npt.NDArray[np.uint8] | None,
        vector: npt.NDArray[np.float32],
        first: npt.NDArray[np.bool_],
    ) -> Acted:
        """Advances all latents by one observation each and samples an action for each slot."""
        pixels = None if image is None else torch.from_numpy(image).to(self.device)
        noise = self.world.draw_noise(len(self.policies), generator=self._generator)
        self._latent = self.world.step(
            pixels,
            torch.from_numpy(vector).to(self.device),
            self._action,
            torch.from_numpy(first).to(self.device),
            self._latent,
            noise,
        )
        action = torch.zeros_like(self._action)
        for name, slots in self._slots.items():
            if name is None:
                action[slots] = random_action(self.world.interface, len(slots), self._generator)
            else:
                chosen = Latent(self._latent.deter[slots], self._latent.stoch[slots])
                action[slots] = self.heads[name].act(chosen, self._generator)
        self._action = action
        return Acted(action.cpu().numpy(), self._latent.deter.cpu().numpy(), self._latent.stoch.cpu().numpy())

    def state(self) -> dict[str, Tensor]:
        """What a bit-exact continuation needs."""
        return {
            "deter": self._latent.deter,
            "stoch": self._latent.stoch,
            "action": self._action,
            "generator": self._generator.get_state(),
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        self._latent = Latent(state["deter"].to(self.device), state["stoch"].to(self.device))
        self._action = state["action"].to(self.device)
        self._generator.set_state(state["generator"])


def random_action(interface: Places, count: int, generator: torch.Generator) -> Tensor:
    """Uniform flat actions (count, A): continuous places in [-1, 1], one choice of each block."""
    device = generator.device
    parts = [torch.rand(count, len(interface.continuous), generator=generator, device=device) * 2 - 1]
    for size in interface.blocks:
        choice = torch.randint(size, (count,), generator=generator, device=device)
        parts.append(torch.nn.functional.one_hot(choice, size).float())
    return torch.cat(parts, dim=-1)
