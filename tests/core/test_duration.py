"""What excludes each other is said before anything starts, or is made to work."""

import re
from pathlib import Path

import pytest
import yaml
from test_trainer import TASKS, TINY, run

from manyheads import ManyheadsError, load_task
from manyheads.environment import notice
from manyheads.rewards.duration import check_duration, earliest
from manyheads.rewards.nodes import Success
from manyheads.rewards.spec import RewardSpec
from manyheads.settings import load_settings

PAID = {"x": {"signal": "pole_angle"}, "to": {"shape": "ramp", "low": -1.0, "high": 1.0}}
UP = {"op": "gt", "x": {"signal": "pole_angle"}, "than": 0.0}


def held(steps, of=UP):
    return {"op": "held_for", "steps": steps, "of": of}


@pytest.mark.parametrize(
    ("success", "first"),
    [
        ({"when": UP}, 1),
        ({"when": UP, "held_for": 20}, 20),
        ({"when": held(11), "held_for": 10}, 20),
        ({"when": held(6, held(6)), "held_for": 10}, 20),
        ({"when": {"op": "all", "of": [UP, held(20)]}}, 20),
        ({"when": {"op": "any", "of": [UP, held(20)]}, "held_for": 3}, 3),
        ({"when": {"op": "not", "of": held(50)}, "held_for": 20}, 20),
    ],
)
def test_the_earliest_step_of_success(success, first):
    node = Success.model_validate(success)
    assert earliest(node.when) + node.held_for - 1 == first
    if first == 20:
        assert check_duration(node, first - 1) or "not" in str(success)
    if "any" not in str(success) and "not" not in str(success):
        assert not check_duration(node, first)


@pytest.mark.parametrize(
    ("parts", "place", "message"),
    [
        ({"reward": {"to": {"shape": "indicator", "when": held(30)}}}, "reward.to.when", "holds after 30 steps"),
        ({"reward": PAID, "success": {"when": UP, "held_for": 50}}, "success", "Success comes after 50 steps"),
        (
            {"stages": [{"reward": PAID, "timeout": 20, "on_timeout": "advance"}, {"reward": PAID}]},
            "stages[1]",
            "begins after 20 steps",
        ),
        (
            {"stages": [{"reward": PAID, "advance_when": held(15)}] * 2 + [{"reward": PAID}]},
            "stages[2]",
            "begins after 30 steps",
        ),
        (
            {"reward": PAID, "constraints": [{"constraint": "gate", "when": UP, "grace": 20}]},
            "constraints[0]",
            "never ends",
        ),
    ],
)
def test_what_no_episode_is_long_enough_for_is_an_error(parts, place, message, tmp_path: Path):
    spec = RewardSpec.model_validate({"environment": "gymnasium/Pendulum-v1", **parts})
    [finding] = check_duration(spec, 20)
    assert (finding.code, finding.severity, finding.path) == ("L2_EPISODE", "error", place)
    assert message in finding.message
    assert not check_duration(spec, 60)
    path = tmp_path / "task.yaml"
    task = {"version": 1, "environment": spec.environment, "episode_steps": 20}
    data = spec.model_dump(mode="json", exclude_defaults=True)
    path.write_text(yaml.safe_dump({**task, "reward": {"source": "spec", "spec": data}}))
    with pytest.raises(ManyheadsError, match=rf"L2_EPISODE at {re.escape(place)}: .*an episode has 20"):
        load_task(path)
    assert "L2_EPISODE" in run("reward", "check", path, code=1)


def test_success_of_any_task_is_held_to_its_episode(tmp_path: Path):
    path = tmp_path / "task.yaml"
    path.write_text(
        "version: 1\nenvironment: gymnasium/Pendulum-v1\nreward: {source: environment}\nepisode_steps: 20\n"
        "success: {when: {op: gt, x: {signal: pole_angle}, than: 0}, held_for: 50}\n"
    )
    with pytest.raises(ManyheadsError, match=r"task.yaml:5: success: .* comes after 50 steps.*an episode has 20"):
        load_task(path)


def test_more_tasks_than_environments_are_all_played(tmp_path: Path):
    said = run("train", tmp_path / "world", *TASKS, *TINY, "--set=training.num_envs=1", "--steps", 40)
    assert "2 environments are stepped, one a task; training.num_envs is 1" in " ".join(said.split())
    assert len([*(tmp_path / "world" / "replay").glob("stream-*")]) == 2
    run("train", tmp_path / "world", "--steps", 60)
    run("train", tmp_path / "world", *TASKS, "dmc/cartpole-park_left", "--steps", 90)
    keys = [path.read_text() for path in (tmp_path / "world" / "replay").glob("stream-*/stream.json")]
    assert len(keys) >= 3


@pytest.mark.parametrize(
    "override",
    [
        ["training.capacity_rows=1024", "training.batch_length=64"],
        ["training.capacity_rows=2000", "training.num_envs=2", "training.batch_length=1000"],
    ],
)
def test_a_replay_that_never_holds_a_sequence_is_refused(override):
    with pytest.raises(ManyheadsError, match=r"need room for \d+ rows, and training.capacity_rows or .* keep"):
        load_settings(None, override)


def test_bytes_that_never_hold_a_sequence_are_refused_before_anything_starts(tmp_path: Path):
    settings = [*TINY, "--set=training.capacity_bytes=1000000", "--set=training.batch_length=5000"]
    with pytest.raises(ManyheadsError, match=r"2 environments with sequences of training.batch_length=5000 rows need"):
        run("train", tmp_path / "world", TASKS[0], *settings, "--steps", 40)
    assert not [*(tmp_path / "world").rglob("*.rows")]
    run("train", tmp_path / "world", TASKS[0], *TINY, "--steps", 40)


def test_steps_that_teach_nothing_are_said(tmp_path: Path):
    said = run("train", tmp_path / "world", TASKS[0], *TINY, "--steps", 20)
    assert "Nothing is learned up to step 20: learning begins at step 32, and then an update takes 8 steps" in " ".join(
        said.split()
    )
    assert "Nothing is learned" not in run("train", tmp_path / "world", "--steps", 60)


@pytest.mark.parametrize(
    ("options", "steps", "own"),
    [("{}", 400, 200), ("{action_repeat: 2}", 150, 100), ("{max_episode_steps: 50}", 51, 50)],
)
def test_a_limit_of_the_environment_s_own_is_said(options, steps, own, tmp_path: Path, caplog):
    notice._said.clear()
    path = tmp_path / "task.yaml"
    text = "version: 1\nenvironment: gymnasium/MountainCar-v0\noptions: {}\n"
    text += "reward: {{source: environment}}\nepisode_steps: {}\n"
    path.write_text(text.format(options, own))
    load_task(path).make_environment().close()
    assert not caplog.messages
    path.write_text(text.format(options, steps))
    load_task(path).make_environment().close()
    [said] = caplog.messages
    assert f"MountainCar-v0 ends its episodes after {own} steps; the task's episode_steps: {steps} are never" in said
