"""The part of a practice reward that heads earn which are trained in the imagination of a real, tiny world."""

import numpy as np
import pytest
from tiny_checkpoint import write_checkpoint
from tiny_world import train_tiny_world

pytest.importorskip("peft")
pytest.importorskip("dm_control")

import manyheads
from manyheads import RewardSpec
from manyheads.learning import trial_heads
from manyheads.registry import registry
from manyheads.storage.world_folder import WorldFolder
from manyheads.training import TrialHeads
from manyheads_glam.grounding import command
from manyheads_glam.grounding.attempts import Attempt
from manyheads_glam.grounding.earned import Parts
from manyheads_glam.grounding.policy import Policy
from manyheads_glam.grounding.practice import practices
from manyheads_glam.grounding.train import GroundSettings, Run
from manyheads_glam.models.causal import CausalModel
from manyheads_glam.models.word_vectors import word_vectors
from manyheads_glam.transcript import Trust


class TinyModel(CausalModel):
    def embed(self, texts):
        return word_vectors(texts)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_tiny_world(tmp_path_factory.mktemp("ground") / "world")


@pytest.fixture
def practice(trained):
    [found] = practices([trained], updates=30, steps=8)
    yield found
    found.world.close()


def spec(side, value):
    to = {"shape": "tolerance", side: value, "margin": 1.0}
    return RewardSpec.model_validate(
        {"environment": "dmc/cartpole", "reward": {"x": {"signal": "cart_position"}, "to": to}}
    )


LEFT, RIGHT = spec("upper", -0.3), spec("lower", 0.3)


def test_a_world_that_is_not_trained_on_an_environment_imagines_none_of_it(trained, practice, tmp_path):
    elsewhere = registry().environments["dmc/reacher"].instance({})
    folder = WorldFolder.open(trained)
    assert practice.world.measures(practice.instance)
    assert not practice.world.measures(elsewhere)
    empty = WorldFolder.create(tmp_path / "empty", folder.settings, folder.instances)
    assert not TrialHeads(empty, 30, 8).measures(practice.instance)


def test_the_truths_own_specification_earns_all_every_time(practice, monkeypatch):
    monkeypatch.setattr(trial_heads, "CERTAIN", -np.inf)
    first = practice.shares(LEFT, [RIGHT, LEFT])
    assert first[1] == pytest.approx(1.0, abs=0.25)  # heads alike but for rounding, which turns some drawn actions
    assert all(-1 <= share <= 1 for share in first)
    assert practice.shares(LEFT, [RIGHT, LEFT]) == pytest.approx(first)


def test_nothing_is_told_where_the_truths_own_head_learns_nothing(trained, practice, monkeypatch):
    idle = TrialHeads(WorldFolder.open(trained), 0, 8)
    try:
        monkeypatch.setattr(practice, "world", idle)
        assert practice.shares(LEFT, [RIGHT]) is None
    finally:
        idle.close()


def test_heads_leave_no_trace_in_the_world(trained, practice):
    before = manyheads.load(trained).heads
    practice.shares(LEFT, [RIGHT])
    assert manyheads.load(trained).heads == before


def test_a_reward_is_the_mean_of_rank_and_what_the_head_earns(practice, monkeypatch):
    monkeypatch.setattr(trial_heads, "CERTAIN", -np.inf)
    goal = practice.goal(np.random.default_rng(0), "train")
    group = [Attempt([], LEFT), Attempt([], RIGHT), Attempt([], None), Attempt([], LEFT)]
    parts = Parts()
    ranks, both = (parts.add(practice, goal, group, judged) for judged in (False, True))
    shares = practice.shares(goal.truth, [LEFT, RIGHT])
    earned = np.array([shares[0], shares[1], 0.0, shares[0]])
    assert both == pytest.approx((ranks + earned) / 2, abs=1e-3)
    row = parts.row()
    assert row["imagined goals"] == 1
    assert row["imagined"] == pytest.approx(earned.mean(), abs=1e-3)
    assert row["imagined seconds"] > 0


def test_a_step_of_reinforcement_says_both_parts(practice, tmp_path, monkeypatch):
    monkeypatch.setattr(trial_heads, "CERTAIN", -np.inf)
    base = TinyModel("local:x", write_checkpoint(tmp_path))
    policy = Policy(base, 4, 8.0, Trust(2.0, 6.0, learned=True), seed=0)
    settings = GroundSettings(warm=0, steps=1, goals=2, group=4, held=1, rank=4, imagined=1.0)
    run = Run(settings, policy, [practice], [practice])
    run.train(1, lambda row: None)
    [row] = run.curve
    assert {"reward", "rank", "imagined", "imagined goals", "imagined seconds"} <= row.keys()
    assert "heads trained by 60 updates" in command._imagining(run, [practice])


def test_recordings_alone_are_said_to_have_no_imagination(practice):
    practice.world, kept = None, practice.world
    run = Run.__new__(Run)
    run.settings = GroundSettings()
    try:
        assert "none of the worlds has a trained model" in command._imagining(run, [practice])
    finally:
        practice.world = kept
