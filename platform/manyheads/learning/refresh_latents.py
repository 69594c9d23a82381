"""Stored latents brought up to date: one pass of a frozen world over the episodes whose latents are not its own."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from manyheads.experience.recorded_episode import Episode
from manyheads.experience.replay import Replay
from manyheads.world.model import Latent, World

TOGETHER = 64
"""episodes observed side by side, at most"""
WINDOW = 64
"""rows observed at a time"""


def world_id(world: World) -> int:
    """A number that follows from the world's weights: CRC-32 of all its tensors."""
    number = 0
    for name, tensor in sorted(world.state_dict().items()):
        number = zlib.crc32(name.encode(), number)
        number = zlib.crc32(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy(), number)
    return number


@torch.no_grad()
def refresh_latents(world: World, replay: Replay, seed: int) -> int:
    """Recomputes the latents of each episode that has one that this world did not write; returns how many rows.

    An episode is observed from its first row on, or, where capacity has dropped that, from the first that is left.
    """
    replay.world_id = world_id(world)
    generator = torch.Generator(world.device).manual_seed(seed)
    episodes = sorted(replay.stale_episodes(), key=len)
    for start in range(0, len(episodes), TOGETHER):
        group = episodes[start : start + TOGETHER]
        parts = list(_observe(world, group, generator))
        deter = np.concatenate([part.deter.cpu().numpy() for part in parts], 1)
        stoch = np.concatenate([part.stoch.cpu().numpy() for part in parts], 1)
        for index, episode in enumerate(group):
            rows = len(episode)
            own = replay.latent.pack(deter[index : index + 1, :rows], stoch[index : index + 1, :rows])
            replay.write_latents(episode.window_index, own)
    return sum(map(len, episodes))


def _observe(world: World, episodes: Sequence[Episode], generator: torch.Generator) -> Iterator[Latent]:
    """Posterior states (B, WINDOW, ...) of episodes padded to one length, window after window.

    B is the next power of two: few shapes, for each is compiled.
    """
    rows = -(-max(map(len, episodes)) // WINDOW) * WINDOW
    number = 1 << (len(episodes) - 1).bit_length()

    def stacked(each: Iterable[npt.NDArray[Any]]) -> Tensor:
        return torch.from_numpy(_pad(np.stack([*each]), number))

    vector = stacked(_pad(episode.vector, rows) for episode in episodes)
    action = stacked(_pad(episode.action[:-1], rows, before=1) for episode in episodes)
    images = [episode.image for episode in episodes] if world.interface.image is not None else []
    is_first = torch.zeros(number, rows, dtype=torch.bool)
    is_first[:, 0] = True
    masks = world.vector_masks([episode.instance.layout for episode in episodes])
    vector_mask = nn.functional.pad(masks, (0, 0, 0, number - len(episodes)))
    latent = world.initial(number)
    for start in range(0, rows, WINDOW):
        window = slice(start, start + WINDOW)
        image = None
        if images:
            image = stacked(_pad(pixels[window], WINDOW) for pixels in images if pixels is not None)
        observed = world.observe(
            None if image is None else image.to(world.device),
            vector[:, window].to(world.device),
            action[:, window].to(world.device),
            is_first[:, window].to(world.device),
            latent,
            world.draw_noise(number, WINDOW, generator=generator),
            vector_mask,
        )
        latent = Latent(observed.latents.deter[:, -1], observed.latents.stoch[:, -1])
        yield observed.latents


def _pad(values: npt.NDArray[Any], rows: int, before: int = 0) -> npt.NDArray[Any]:
    """`values` (T, ...) in `rows` rows, zeros `before` it and after it."""
    padded = np.zeros((rows, *values.shape[1:]), values.dtype)
    padded[before : before + len(values)] = values
    return padded
