"""A world that the version before wrote is opened, acted in and trained on.

`worlds/format_1.tar.gz` was trained for 120 steps on Pendulum and CartPole, with settings under their old names.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import manyheads
from manyheads.cli import manyheads as command_line
from manyheads.storage.world_folder import WorldFolder

TASKS = ("gymnasium/Pendulum-v1-swingup", "gymnasium/CartPole-v1-balance")
PENDULUM = "heads/gymnasium__Pendulum-v1-swingup/weights"


@pytest.fixture
def world(tmp_path: Path) -> Path:
    with tarfile.open(Path(__file__).parent / "worlds" / "format_1.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "tinyold"


def test_settings_layouts_and_weights_are_read(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = WorldFolder.open(world)
    assert folder.heads == TASKS
    assert (folder.settings.training.train_ratio, folder.settings.optimizer.lr) == (2.0, 0.001)
    assert "training.ratio is now called training.train_ratio" in capsys.readouterr().err
    assert folder.instances[1].layout.discrete == (("action", 2),)
    assert folder.settings.world.vectors == "standardised_all"  # as its encoder has learned to see
    assert "vector_norm.mean" in folder.checkpoint.read("world")
    assert "actor.std.weight" in folder.checkpoint.read(PENDULUM)
    replay = folder.replay(read_only=True)
    assert replay.rows == 120
    assert {instance.dynamics_key for instance in replay.instances} == {
        i.instance().dynamics_key for i in folder.instances
    }


@pytest.mark.parametrize("task", TASKS)
def test_its_heads_act(world: Path, task: str) -> None:
    agent = manyheads.load(world).head(task)
    env = agent.task.make_environment(seed=1)
    observation, info = env.reset()
    for _ in range(3):
        action = agent.act(observation, info)
        assert env.action_space.contains(action)
        observation, *_, info = env.step(action)


def test_it_is_trained_on_and_then_has_the_new_format(world: Path) -> None:
    before = WorldFolder.open(world).checkpoint.read("world")
    result = CliRunner().invoke(command_line, ["train", str(world), "--steps", "160"])
    assert result.exit_code == 0, result.output
    manifest = json.loads((world / "checkpoint.json").read_text())
    assert manifest["format"] == 3
    assert manifest["digests"].keys() == manifest["files"].keys()
    folder = WorldFolder.open(world)
    assert folder.checkpoint.state["runs"]["train"]["steps"] == 160
    after = folder.checkpoint.read("world")
    assert after.keys() == before.keys()
    assert any(not torch.equal(after[name], before[name]) for name in before)
    assert folder.checkpoint.read("train/learner")[
        "gymnasium/Pendulum-v1-swingup/optimizer/momentum/actor.std.bias"
    ].any()


def test_what_is_not_saved_again_keeps_its_old_file_and_is_still_read(world: Path) -> None:
    result = CliRunner().invoke(command_line, ["finetune", str(world), TASKS[1], "--updates", "2"])
    assert result.exit_code == 0, result.output
    folder = WorldFolder.open(world)
    assert folder.checkpoint.read(PENDULUM)["actor.std.weight"].shape[0] == 1
    assert np.isfinite(folder.checkpoint.read("world")["vector_norm.mean"].numpy()).all()
