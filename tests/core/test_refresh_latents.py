"""Stored latents are those of each episode observed alone from its first row, in batches of few shapes."""

import numpy as np
import pytest
import torch
from fake_experience import INTERFACE, random_rows, recorded
from small_agent import SIZES, small_world

from manyheads.experience.latent_table import LatentLayout
from manyheads.experience.replay import Replay
from manyheads.learning.refresh_latents import WINDOW, refresh_latents

LENGTHS = [3, WINDOW + 6, 10, 1, WINDOW]


@pytest.mark.parametrize("number", [1, 3, 5])
def test_every_episode_as_observed_alone(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world = small_world(INTERFACE)
    replay = Replay(None, INTERFACE, LatentLayout(*(SIZES[name] for name in ("deter", "groups", "classes"))))
    generator = np.random.default_rng(0)
    for length in LENGTHS[:number]:
        stream, end = replay.open_stream(recorded()), length - 1
        for t in range(length):
            replay.add([stream], random_rows(generator, INTERFACE, [t == 0], [t == end], [0], [t], signals=2))
    shapes, observe = set(), world.observe

    def watched(image, vector, *rest):
        shapes.add(tuple(vector.shape[:2]))
        return observe(image, vector, *rest)

    monkeypatch.setattr(world, "observe", watched)
    monkeypatch.setattr(world, "draw_noise", lambda *shape, generator=None: torch.full((*shape, SIZES["groups"]), 0.5))
    assert refresh_latents(world, replay, seed=0) == sum(LENGTHS[:number])
    assert shapes == {({1: 1, 3: 4, 5: 8}[number], WINDOW)}, "powers of two"

    assert refresh_latents(world, replay, seed=0) == 0, "nothing is stale"
    for episode in replay.episodes():
        rows = len(episode)
        vector, action = (torch.from_numpy(x)[None] for x in (episode.vector, episode.action))
        previous = torch.cat([torch.zeros_like(action[:, :1]), action[:, :-1]], 1)
        first = torch.zeros(1, rows, dtype=torch.bool)
        first[:, 0] = True
        alone = observe(None, vector, previous, first, world.initial(1), world.draw_noise(1, rows)).latents
        deter, stoch = replay.read_latents(episode.window_index)
        np.testing.assert_allclose(deter, alone.deter.detach(), rtol=2e-3, atol=1e-4)
        np.testing.assert_array_equal(stoch, alone.stoch.detach())
