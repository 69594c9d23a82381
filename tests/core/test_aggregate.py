"""Scores over heads, the ledger, and drops beyond noise."""

import json

import numpy as np
import pytest

from manyheads.errors import ManyheadsError
from manyheads.learning.aggregate import (
    Reference,
    TaskScores,
    aggregate,
    interquartile_mean,
    normalised,
    stratified_bootstrap,
)
from manyheads.learning.forgetting import drop
from manyheads.storage import ledger
from manyheads.storage.ledger import Score

SCIPY = pytest.importorskip("scipy.stats")


def test_the_interquartile_mean_is_the_trimmed_mean_that_rliable_takes():
    values = np.random.default_rng(0).normal(size=(7, 6)) ** 3
    assert interquartile_mean(values) == pytest.approx(SCIPY.trim_mean(values, 0.25, axis=None))


def test_scores_are_0_for_random_and_1_for_the_reference():
    assert normalised([10, 60, 110], random=10, reference=110) == [0, 0.5, 1]


def test_episodes_are_resampled_within_their_task():
    """Two tasks without any spread: the interval is a point, whatever lies between the tasks."""
    scores = {"easy": np.ones(4), "hard": np.zeros(4)}
    found = stratified_bootstrap(scores, lambda x: float(x.mean()))
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)


def test_an_interval_covers_what_is_true_about_as_often_as_it_says():
    generator, hits = np.random.default_rng(1), 0
    for trial in range(100):
        scores = {name: generator.normal(loc, 0.2, 20) for name, loc in (("a", 0.2), ("b", 0.8))}
        found = stratified_bootstrap(scores, lambda x: float(x.mean()), seed=trial, resamples=300)
        hits += found.low <= 0.5 <= found.high
    assert 85 <= hits <= 100


def test_heads_without_a_reference_are_named():
    reference = Reference(100.0, "bound", simulator=False)
    found = aggregate([TaskScores("a", reference, [0.2, 0.4])], ["b"])
    assert found is not None
    assert found.record()["without_reference"] == ["b"]
    assert found.mean.mean == pytest.approx(0.3)
    assert aggregate([], ["b"]) is None


def score(updates, *returns):
    return Score("walk", updates, saved=1, returns=[*returns])


def test_a_drop_is_told_only_beyond_noise_and_of_another_state_of_the_world():
    good, noisy, bad = (900.0, 910, 905, 890, 899), (500.0, 910, 905, 890, 899), (700.0, 710, 690, 705, 699)
    assert drop([]) is None
    assert drop([score(100, *good)]) is None
    assert drop([score(100, *good), score(200, *noisy)]) is None
    assert drop([score(100, *good), score(100, *bad)]) is None
    found = drop([score(50, *bad), score(100, *good), score(200, *bad)])
    assert found is not None
    assert found.before.world_updates == 100
    assert found.difference.mean == pytest.approx(-200, abs=1)
    assert "walk earned 900.8 when the world model had 100 updates, and 700.8 now, at 200" in str(found)


def test_scores_follow_a_head_that_is_renamed_and_go_with_one_that_is_deleted(tmp_path):
    kept = Score("run", 1, 1, [2.0])
    (tmp_path / ledger.FILE).write_text(json.dumps([vars(score(100, 1.0)), vars(kept)]))
    ledger.rename(tmp_path, "walk", "stroll")
    assert [each.task for each in ledger.read(tmp_path)] == ["stroll", "run"]
    ledger.rename(tmp_path, "stroll", None)
    ledger.rename(tmp_path, "nothing", None)
    assert ledger.read(tmp_path) == [kept]


def test_a_damaged_ledger_says_what_to_do(tmp_path):
    assert ledger.read(tmp_path) == []
    (tmp_path / ledger.FILE).write_text('[{"task": "walk"}]')
    with pytest.raises(ManyheadsError, match=r"Delete it; `manyheads evaluate .*` begins another"):
        ledger.read(tmp_path)
