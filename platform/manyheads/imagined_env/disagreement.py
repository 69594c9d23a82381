"""How little a world has seen of what it imagines: an ensemble fitted to recorded transitions."""

from __future__ import annotations

import torch
from torch import Tensor

from manyheads.experience.replay import Replay
from manyheads.world.ensemble import LatentEnsemble
from manyheads.world.model import Latent, World

BATCHES, ROWS, LENGTH = 16, 16, 32
"""transitions that the ensemble is fitted to: so many batches of so many windows of so many rows"""
UPDATES = 300
LR = 3e-3


class Disagreement:
    """The variance of `members` predictors of the next latent, over its mean on recorded transitions.

    1 is what the world knows as well as its data on average; far above it, it guesses.
    """

    def __init__(self, world: World, replay: Replay, key: str, members: int, seed: int) -> None:
        """Fits the ensemble to rows of that dynamics key, a few seconds; the global generator stays as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.ensemble = LatentEnsemble(world.settings, world.interface.action_size, members, layers=2)
            self.ensemble.to(world.device)
            feature, action, after = _transitions(world, replay, key)
            optimizer = torch.optim.Adam(self.ensemble.parameters(), lr=LR)
            for _ in range(UPDATES):
                chosen = torch.randint(len(feature), (512,))
                predicted = self.ensemble.predict(feature[chosen], action[chosen])
                loss = self.ensemble.errors(predicted, after[chosen]).mean()
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
        self.ensemble.requires_grad_(False)
        self.usual = float(self._variance(feature, action).mean().clamp(min=1e-8))

    def __call__(self, latent: Latent, action: Tensor) -> Tensor:
        """(N,) for actions (N, A) taken in states of N episodes."""
        return self._variance(latent.feature, action) / self.usual

    @torch.no_grad()
    def _variance(self, feature: Tensor, action: Tensor) -> Tensor:
        return self.ensemble.variance(self.ensemble.predict(feature, action))


@torch.no_grad()
def _transitions(world: World, replay: Replay, key: str) -> tuple[Tensor, Tensor, Tensor]:
    """Features (n, F), actions (n, A) taken there and the features that came next, as the world sees them now."""
    found: list[tuple[Tensor, ...]] = []
    length = max(2, min(LENGTH, max((len(episode) for episode in replay.episodes(key)), default=2)))
    for _ in range(BATCHES):
        batch, _ = replay.sample(ROWS, length, groups={key: 1.0}, online=False)
        vector, action = batch.vector.to(world.device), batch.previous_action.to(world.device)
        reset = (batch.is_first | batch.reset_state).to(world.device)
        image = None if batch.image is None else batch.image.to(world.device)
        start = Latent(batch.deter.to(world.device), batch.stoch.to(world.device))
        noise = world.draw_noise(ROWS, length)
        pictured = None if batch.pictured is None else batch.pictured.to(world.device)
        layouts = [replay.instances[i].layout for i in batch.instance.tolist()]
        mask = world.vector_masks(layouts)
        seen = world.observe(image, vector, action, reset, start, noise, mask, pictured).latents.feature
        same_episode = ~reset[:, 1:]
        found.append((seen[:, :-1][same_episode], action[:, 1:][same_episode], seen[:, 1:][same_episode]))
    feature, taken, after = (torch.cat(parts) for parts in zip(*found, strict=True))
    return feature, taken, after
