"""Worlds over several environments: shares of a batch, pictures of a part of it, no modality that drowns another."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_experience import INTERFACE, LAYOUT, PICTURED, random_latents, random_rows, recorded
from hypothesis import given, settings
from hypothesis import strategies as st
from small_agent import random_batch, small_world

from manyheads.api.opening import weighed
from manyheads.environment.layout import SpaceLayout
from manyheads.experience.replay import Replay
from manyheads.learning.prefetch import BatchSampler, environment_shares
from manyheads.settings import load_settings
from manyheads.storage.world_folder import InstanceRecord

PICTURE = InstanceRecord(environment="a", options={}, layout=SpaceLayout(image=(8, 8, 3)))
PLAIN = InstanceRecord(environment="b", options={}, layout=SpaceLayout(vector=("x",)))


@pytest.mark.parametrize(
    ("found", "overrides", "weights", "said"),
    [
        ([PICTURE, PLAIN], [], "harmonised", 1),
        ([PICTURE, PLAIN], ["world.loss_weights=fixed"], "fixed", 0),
        ([PICTURE, PICTURE], [], "fixed", 0),
        ([PLAIN], [], "fixed", 0),
    ],
)
def test_losses_of_a_mixture_are_weighed_unless_a_person_says_how(found, overrides, weights, said):
    words = []
    assert weighed(load_settings("demo", overrides), found, words.append).world.loss_weights == weights
    assert len(words) == said


def replay_of(rows):
    """So many rows of each environment, in streams of their own."""
    replay, random = Replay(None, INTERFACE, LAYOUT, seed=0), np.random.default_rng(0)
    for name, count in rows.items():
        stream = replay.open_stream(recorded(name))
        for at in range(count):
            replay.add(
                [stream], random_rows(random, INTERFACE, [at == 0], [False], [0], [at], 2), *random_latents(random, 1)
            )
    return replay


def drawn(replay, weights, only=None, batches=20):
    """Sequences of each environment among some batches of ten."""
    sampler = BatchSampler(
        replay,
        INTERFACE,
        {},
        (10, 4),
        frozen=True,
        shares=lambda: environment_shares(replay.instances, weights, only),
    )
    counts = Counter()
    for _ in range(batches):
        counts.update(sampler()[0].batch.instance.tolist())
    return [counts[i] for i in range(len(replay.instances))]


def test_environments_have_equal_shares_of_a_batch_however_many_rows_they_have():
    replay = replay_of({"fake/much": 300, "fake/little": 30})
    assert drawn(replay, {}) == pytest.approx([100, 100], abs=10)
    assert drawn(replay, {"fake/little": 3.0}) == pytest.approx([50, 150], abs=10)
    assert drawn(replay, {"fake/little": 0.0}) == [200, 0]


def test_heads_of_a_frozen_world_see_rows_of_their_environment_alone():
    replay = replay_of({"fake/much": 300, "fake/little": 30})
    assert drawn(replay, {"fake/much": 5.0}, only="fake/little {}") == [0, 200]


def test_one_environment_is_drawn_from_as_it_always_was():
    replay = replay_of({"fake/one": 60})
    assert environment_shares(replay.instances, {}) is None


# --- pictures of a part of a batch --------------------------------------------------------------------------


def half_pictured(rows, generator=0):
    """Replay of a world with pictures; of the environments, only those named `seen…` show any."""
    replay, random = Replay(None, PICTURED, LAYOUT, seed=generator), np.random.default_rng(0)
    for name in rows:
        layout = PICTURED if "seen" in name else INTERFACE
        stream = replay.open_stream(recorded(name, layout=layout))
        for at in range(20):
            row = random_rows(random, PICTURED, [at == 0], [False], [0], [at], 2)
            row = row if layout.image else replace(row, image=np.zeros_like(row.image))
            replay.add([stream], row, *random_latents(random, 1))
    return replay


@settings(deadline=None, max_examples=60)
@given(st.lists(st.booleans(), min_size=2, max_size=6), st.integers(2, 17), st.integers(0, 9))
def test_a_batch_has_as_many_pictures_each_time(seen, batch, seed):
    names = [f"fake/{'seen' if one else 'blind'}{i}" for i, one in enumerate(seen)]
    replay = half_pictured(names, seed)
    groups = environment_shares(replay.instances, {names[0]: 2.0})
    shares = [weight / sum(groups.values()) for weight in groups.values()]
    sizes = set()
    for _ in range(6):
        found, _ = replay.sample(batch, 4, groups=groups, online=False)
        sizes.add(len(found.image))
        shown = [replay.instances[i].layout.image is not None for i in found.instance.tolist()]
        most = sum(math.ceil(share * batch - 1e-9) for share, one in zip(shares, seen, strict=True) if one)
        assert (found.pictured is None) == (most + 1 >= batch)
        if found.pictured is None:
            assert len(found.image) == batch
            continue
        assert {i for i, one in enumerate(shown) if one} <= set(found.pictured.tolist())
        assert not shown[found.pictured[-1]]
        assert not found.image[-1].any()
        assert len({*found.pictured.tolist()}) == len(found.pictured) == len(found.image)
        whole = found.with_every_image().image
        assert torch.equal(whole[found.pictured], found.image)
        assert [bool(one.any()) for one in whole] == shown
    assert len(sizes) == 1


def test_pictures_of_a_part_teach_what_blank_ones_of_the_rest_would():
    """Losses and gradients; the rest costs no convolution."""
    world = small_world()
    batch, _, vector_mask, image_mask = random_batch(world)
    image_mask[[0, 3]] = 0.0
    batch.image[[0, 3]] = 0
    few = batch._replace(image=batch.image[[2, 1, 3]], pictured=torch.tensor([2, 1, 3]))
    found = []
    for one in (batch, few):
        world.zero_grad()
        noise = world.draw_noise(*batch.shape, generator=torch.Generator().manual_seed(0))
        start, given = world.initial(4), (one.image, one.vector, one.previous_action)
        observed = world.observe(*given, one.is_first, start, noise, vector_mask, one.pictured)
        terms = world.scaled_losses(observed, *given[:2], vector_mask, image_mask, one.pictured)
        sum(terms.values()).backward()
        found.append((terms, {name: p.grad.clone() for name, p in world.named_parameters() if p.grad is not None}))
    for whole, part in zip(*found, strict=True):
        assert whole.keys() == part.keys()
        for name, value in whole.items():
            torch.testing.assert_close(part[name], value, rtol=1e-5, atol=1e-6)
    rows = world.losses(observed, few.image, few.vector, vector_mask, image_mask, few.pictured)["image"]
    assert rows.any(1).tolist() == [False, True, True, False]
