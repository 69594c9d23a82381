"""What is exported as ONNX: one step of acting, and one imagined step, as functions of tensors alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from manyheads.environment.adapter import LayoutMap, RowFormat
from manyheads.heads.actor_critic import ActorCritic
from manyheads.world.model import Latent, World


class ActStep(nn.Module):
    """One step of acting in an environment, in the entries of its own rows and in native units.

    Inputs: `image` (1, H, W, c) uint8, where the environment has one; `vector` (1, v); `is_first` (1,) 1 where an
    episode starts, else 0; `deter`, `stoch` and `flat_action` as the step before gave them (zeros at first);
    `latent_noise` (1, G) and `action_noise` (1, entries), uniform and normal numbers as `World.draw_noise` and
    `Actor.draw_noise` draw them. Outputs: `action` (1, a): continuous entries clipped and in native units, then one-hot
    blocks; and `deter`, `stoch`, `flat_action` for the next step.
    """

    vector_mask: Tensor
    to_interface: Tensor
    to_own: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, world: World, head: ActorCritic, row_format: RowFormat) -> None:
        super().__init__()
        self.world, self.head = world, head
        layout_map = LayoutMap(world.interface, row_format.layout)
        vectors = np.eye(len(row_format.layout.vector), dtype=np.float32)
        actions = np.eye(world.interface.action_size, dtype=np.float32)
        self.register_buffer("vector_mask", world.vector_masks([row_format.layout]))
        self.register_buffer("to_interface", torch.from_numpy(layout_map.map_vector(vectors)))
        self.register_buffer("to_own", torch.from_numpy(np.ascontiguousarray(layout_map.unmap_action(actions))))
        count = len(row_format.layout.continuous)
        ends = [row_format.act.ends(sign) for sign in (-1.0, 1.0)]
        self.register_buffer("low", torch.from_numpy(ends[0][:count].astype(np.float32)))
        self.register_buffer("high", torch.from_numpy(ends[1][:count].astype(np.float32)))
        self.channels = world.interface.image[2] if world.interface.image else 0

    def forward(
        self,
        image: Tensor | None,
        vector: Tensor,
        is_first: Tensor,
        deter: Tensor,
        stoch: Tensor,
        flat_action: Tensor,
        latent_noise: Tensor,
        action_noise: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if image is not None and image.shape[-1] < self.channels:
            image = nn.functional.pad(image, (0, self.channels - image.shape[-1]))
        seen = vector @ self.to_interface
        before = Latent(deter, stoch)
        latent = self.world.step(image, seen, flat_action, is_first, before, latent_noise, self.vector_mask)
        chosen = self.head.actor(latent.feature).sample(action_noise)
        own, count = chosen @ self.to_own, len(self.low)
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        native = own[:, :count].clamp(-1, 1) * half + middle
        return torch.cat([native, own[:, count:]], -1), latent.deter, latent.stoch, chosen


class ImagineStep(nn.Module):
    """One imagined step.

    From the state `deter`, `stoch`, by `flat_action` (1, A) and `latent_noise` (1, G), to the state after it, what it
    looks like (`vector` (1, V), and `image` where there is one), and the head's `reward` and `continues`.
    """

    def __init__(self, world: World, head: ActorCritic) -> None:
        super().__init__()
        self.world, self.head = world, head

    def forward(self, deter: Tensor, stoch: Tensor, flat_action: Tensor, latent_noise: Tensor) -> tuple[Tensor, ...]:
        latent = self.world.imagine_step(Latent(deter, stoch), flat_action, latent_noise)
        image, vector = self.world.decode(latent)
        feature = latent.feature
        reward, continues = self.head.reward.mean(self.head.reward(feature)), self.head.continues(feature).sigmoid()
        shown = () if image is None else (image,)
        return latent.deter, latent.stoch, vector, reward, continues, *shown
