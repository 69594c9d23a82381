"""Candidates of a goal, judged by what their heads do in the imagination of a real, tiny world."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_world import train_tiny_world

pytest.importorskip("dm_control")

import manyheads
from manyheads import ManyheadsError, RewardSpec
from manyheads_glam import command
from manyheads_glam.candidates import Candidate, statistics, succeeds
from manyheads_glam.writer import Written

LEFT = {"x": {"signal": "cart_position"}, "to": {"shape": "tolerance", "upper": -0.3, "margin": 1.0}}
RIGHT = {"x": {"signal": "cart_position"}, "to": {"shape": "tolerance", "lower": 0.3, "margin": 1.0}}


def spec(term, op, than):
    when = {"op": op, "x": {"signal": "cart_position"}, "than": than}
    return {"reward": term, "success": {"when": when, "held_for": 2}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny world; only to be copied."""
    return train_tiny_world(tmp_path_factory.mktemp("candidates") / "world")


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(trained, tmp_path / "world")

    def invoke(*arguments, replies=()):
        (tmp_path / "replies.jsonl").write_text("".join(json.dumps({"reply": one}) + "\n" for one in replies))
        common = (
            "--world",
            "world",
            "--model",
            "scripted:replies.jsonl",
            "--yes",
            "--updates",
            "1",
            "--out",
            "out.yaml",
        )
        found = CliRunner().invoke(command.goal, [*arguments, *common])
        if found.exception is not None and not isinstance(found.exception, SystemExit):
            raise found.exception
        return found

    return invoke


def journal(tmp_path):
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    return [one for one in map(json.loads, lines) if one["call"] == "candidate"]


def test_a_model_that_decides_is_sampled_and_heads_are_judged_and_deleted(run, tmp_path):
    before = manyheads.load(tmp_path / "world").heads
    found = run("Park the cart on the left and keep the pole upright", "--candidates", "3", "--rounds", "2")
    assert "no environment steps" in found.output
    assert "one round is all" in found.output
    judged = journal(tmp_path)
    assert 1 <= len(judged) <= 3
    assert len({json.dumps(one["spec"]) for one in judged}) == len(judged)
    assert [one["score"] for one in judged] == sorted((one["score"] for one in judged), reverse=True)
    assert manyheads.load(tmp_path / "world").heads == before
    chosen = manyheads.load_task(tmp_path / "out.yaml").content.reward.model_extra["spec"]
    assert chosen["reward"] == judged[0]["spec"]["reward"]


def test_a_model_that_drafts_is_told_what_its_specifications_would_do(run, tmp_path):
    drafts = [json.dumps(one) for one in (spec(LEFT, "le", -0.3), spec(RIGHT, "ge", 0.3))]
    other = [json.dumps(spec({**LEFT, "floor": 0.1}, "le", -0.3)), json.dumps(spec({**RIGHT, "floor": 0.1}, "ge", 0.3))]
    run("Go left", "--candidates", "2", "--rounds", "2", replies=[*drafts, *other])
    prompts = [
        one["prompt"] for one in map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines()) if "prompt" in one
    ]
    judged = journal(tmp_path)
    assert {one["round"] for one in judged} == {1, 2}
    assert all("along" in one["told"] for one in judged)
    assert len(judged) == 5  # the best of the first round competes again
    assert prompts


def test_candidates_need_a_world(run):
    with pytest.raises(ManyheadsError, match="--world"):
        CliRunner().invoke(
            command.goal,
            ["go left", "--environment", "dmc/cartpole", "--candidates", "2", "--model", "scripted:replies.jsonl"],
            catch_exceptions=False,
        )


def test_a_runner_is_for_candidates_alone_and_its_options_are_checked_first(run):
    pytest.importorskip("ray")
    with pytest.raises(ManyheadsError, match="--candidates says how many"):
        run("go left", "--runner", "ray")
    with pytest.raises(ManyheadsError, match=r"ray\.parts=0: Input should be greater"):
        run("go left", "--candidates", "2", "--runner", "ray", "--set", "ray.parts=0")


def test_imagination_gives_signals_and_what_every_reward_pays(trained, tmp_path):
    world = manyheads.load(shutil.copytree(trained, tmp_path / "world"))
    plays = world.imagine(["dmc/cartpole-park_left", "dmc/cartpole-park_right"], 1, steps=5, progress=False)
    assert set(plays) == {"dmc/cartpole-park_left", "dmc/cartpole-park_right"}
    one = plays["dmc/cartpole-park_left"]
    assert set(one.expected) == set(plays)
    assert one.signals["cart_position"].shape[0] == 6
    assert np.isfinite(one.signals["cart_position"]).all()
    assert all(np.isfinite(each.mean) and each.disagreement >= 0 for each in one.expected.values())
    with pytest.raises(ManyheadsError, match="one environment"):
        world.imagine(["dmc/cartpole-park_left", "dmc/reacher-easy"], 1, progress=False)


def test_success_and_statistics_are_of_the_imagined_rows():
    left = RewardSpec.model_validate({"environment": "dmc/cartpole", **spec(LEFT, "le", -0.3)})
    there, elsewhere = np.full((10, 4), -1.0), np.full((10, 4), 1.0)
    half = np.concatenate([there[:, :2], elsewhere[:, :2]], axis=1)
    assert succeeds(left, {"cart_position": half}, None) == 0.5
    told = json.loads(statistics(left, {"cart_position": np.linspace(-1, 1, 10)[:, None].repeat(4, 1)}))
    assert told["cart_position"]["least"] == -1.0
    assert len(told["cart_position"]["along"]) == 10


def test_the_score_counts_nothing_of_a_candidates_own_reward():
    written = Written(RewardSpec.model_validate({"environment": "dmc/cartpole", **spec(LEFT, "le", 0)}), (), ())
    good = Candidate("a", written, success=0.5, others=0.8, violations=0.0, disagreement=0.1, told="")
    doubtful = Candidate("b", written, success=0.5, others=0.8, violations=0.2, disagreement=0.6, told="")
    assert good.score == pytest.approx(1.2)
    assert doubtful.score < good.score
