"""The benchmark of the step from words to reward: sound truths, splits apart, metrics that tell right from wrong."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("dm_control")

from benchmarks.nl2reward import __main__ as benchmark
from benchmarks.nl2reward import goals as goal_files
from benchmarks.nl2reward import record as recording
from benchmarks.nl2reward.goals import Condition, Family, Goal, goals
from benchmarks.nl2reward.record import PRACTICE
from benchmarks.nl2reward.scores import score

from manyheads.registry import registry
from manyheads.rewards.finding import errors
from manyheads.rewards.validate import check
from manyheads_glam.amounts import measure
from manyheads_glam.wordings import wordings

STEPS = 400


def measured(instance):
    random = np.random.default_rng(0)
    return measure({signal.name: random.normal(0.5, 1, 500) for signal in instance.signals})


@pytest.mark.parametrize("split", ["tuning", "reported"])
def test_every_truth_is_a_sound_specification_said_in_four_ways(split):
    pytest.importorskip("minigrid")
    found = goals(split)
    for goal in found:
        assert not errors(check(goal.truth(measured(goal.instance)), goal.instance.signals)), goal.name
        assert len({sentence.lower() for sentence in goal.sentences}) == 4
        assert not any("{" in sentence for sentence in goal.sentences)
    assert len(found) >= 35


def test_the_splits_share_no_environment_and_all_18_tasks_are_there():
    apart = {split: {goal.instance.environment.name for goal in goals(split)} for split in ("tuning", "reported")}
    assert not apart["tuning"] & apart["reported"]
    tasks = {goal.family.task for split in apart for goal in goals(split)} - {None}
    assert len(tasks) == 18


def test_practice_is_on_no_environment_of_the_reported_split():
    reported = {goal.instance.environment.name for goal in goals("reported")}
    assert not reported & set(PRACTICE)
    assert set(PRACTICE) <= set(registry().environments)


def test_rows_are_recorded_once(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "PRACTICE", ("gymnasium/CartPole-v1",))
    arguments = ["practice", "--data", str(tmp_path), "--rows", "600"]
    first = CliRunner().invoke(recording.main, arguments, catch_exceptions=False).stdout
    [folder] = tmp_path.iterdir()
    assert str(folder) in first
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    CliRunner().invoke(recording.main, arguments, catch_exceptions=False)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == written


def test_no_sentence_of_the_benchmark_is_practised():
    practised = {text for one in wordings().values() for text in (*one.train, *one.held)}
    for split in ("tuning", "reported"):
        for goal in goals(split):
            for sentence in goal.sentences:
                assert sentence.lower().rstrip(".") not in practised


def goal_of(**truth):
    family = Family(
        kind="position",
        environment="dmc/cartpole",
        values=((0.8,),),
        truth=(Condition(signal="cart_position", **truth),),
        say=("a", "b", "c", "d"),
    )
    return Goal("tuning", "position", registry().environments["dmc/cartpole"].instance({}), family.say, family, (0.8,))


def test_values_stand_in_their_places():
    goal = goal_of(near="-{0}", within=0.1)
    term = goal.truth(measured(goal.instance)).reward
    assert (term.to.lower, term.to.upper) == (pytest.approx(-0.9), pytest.approx(-0.7))
    turned = goal_of(near="{0} degrees", within=0.01, angle=True).truth(measured(goal.instance)).reward
    assert turned.x.op == "wrap_angle"
    assert turned.x.of.of[1].constant == pytest.approx(np.pi / 180 * 0.8)


def test_scores_tell_the_same_the_opposite_and_a_refusal():
    random = np.random.default_rng(0)
    truth = np.repeat(random.uniform(0, 1, STEPS // 10), 10).astype(np.float32)
    first = np.arange(STEPS) % 100 == 0
    same, against = score(truth, truth, first), score(1 - truth, truth, first)
    assert same.segments == pytest.approx(1.0)
    assert same.top == 1.0
    assert against.inverted
    assert not same.inverted
    assert score(np.zeros_like(truth), truth, first).segments == 0.0
    refused = score(None, truth, first)
    assert (refused.valid, refused.segments) == (False, 0.0)


def test_one_command_gives_the_table_with_controls(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    two = [goal for goal in goals("tuning") if goal.instance.environment.name == "dmc/pendulum"][1:3]
    monkeypatch.setattr(benchmark, "goals", lambda split: two)
    monkeypatch.setattr(benchmark, "CONTROLS", ("truth", "random", "lexicon"))
    (tmp_path / "none.jsonl").write_text("")
    arguments = [f"scripted:{tmp_path / 'none.jsonl'}", "--split", "tuning", "--rows", "900"]
    found = json.loads(CliRunner().invoke(benchmark.main, [*arguments, "--json"], catch_exceptions=False).stdout)
    writers = found["writers"]
    assert list(writers)[:3] == ["truth", "random", "lexicon"]
    assert writers["truth"]["all"]["segments"] == pytest.approx(1.0)
    assert writers["random"]["all"]["valid"] == 1.0
    assert writers["lexicon"]["all"]["goals"] == 8
    assert any(name.startswith("shuffled") for name in writers)
    assert all({"sentence", "says", "segments"} <= one.keys() for one in writers["lexicon"]["answers"])
    alone = [*arguments[1:], "--no-controls", "lexicon", "shuffled", "--json"]
    found = json.loads(CliRunner().invoke(benchmark.main, alone, catch_exceptions=False).stdout)["writers"]
    assert found["shuffled lexicon"]["all"]["goals"] <= found["lexicon"]["all"]["goals"] == 8
    table = CliRunner().invoke(benchmark.main, [*arguments, "--each"], catch_exceptions=False).stdout
    assert "segments" in table


def test_the_files_of_goals_are_read_strictly():
    with pytest.raises(ValueError, match="a task, or an environment"):
        Family(kind="x", say=("a", "b", "c", "d"), environment="dmc/cartpole")
    assert (goal_files.HERE / "reported.yaml").exists()
