"""Worlds over several environments: equal shares of a batch, and no modality that drowns another."""

from collections import Counter

import numpy as np
import pytest
from fake_experience import INTERFACE, LAYOUT, random_latents, random_rows, recorded

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
