"""Worlds on disk take in environments that they were not made for: at once or not at all, whatever stops them."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_trainer import TINY, interrupt_at, run, same, weights

from manyheads import ManyheadsError, load
from manyheads.heads import actor_critic
from manyheads.learning.evaluate import play
from manyheads.storage.world_folder import WorldFolder

CARTPOLE, PENDULUM = "gymnasium/CartPole-v1-balance", "gymnasium/Pendulum-v1-swingup"
SMALL = [*TINY, "--set=world.mults=[2,2]"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world trained on CartPole, whose one action is a choice of two; only to be copied."""
    folder = tmp_path_factory.mktemp("trained") / "world"
    run("train", folder, CARTPOLE, "--steps", 80, *SMALL)
    return folder


@pytest.fixture
def world(trained: Path, tmp_path: Path) -> Path:
    """A copy of that world for one test."""
    return Path(shutil.copytree(trained, tmp_path / "world"))


def pictured(folder: Path, size: int) -> Path:
    """A task on Pendulum with images."""
    path = folder / f"pictured{size}.yaml"
    path.write_text(
        f"version: 1\nenvironment: gymnasium/Pendulum-v1\noptions: {{image_size: {size}}}\n"
        "reward: {source: environment}\nepisode_steps: 20\n"
    )
    return path


def played(world: Path, task: str = CARTPOLE) -> list[float]:
    agent = load(world).head(task)
    return [result.return_task for result in play(agent.task, 2, agent.world, agent.head)]


def test_a_new_environment_is_taken_in_and_the_old_head_plays_as_before(world: Path) -> None:
    before, score = load(world), played(world)
    output = run("train", world, PENDULUM, "--steps", 1)  # no step, but it is saved
    assert "now includes gymnasium/Pendulum-v1: 3 more observed numbers, 1 more continuous action" in output
    after = load(world)
    assert after.model.interface.continuous == ("action[0]",)
    old, new = (each.model.state_dict()["rssm.core.from_action.linear.weight"] for each in (before, after))
    assert torch.equal(old, new[:, 1:])
    assert not new[:, 0].any()
    assert played(world) == score
    assert after.heads == (CARTPOLE, PENDULUM)
    folder = WorldFolder.open(world)
    assert folder.interface_of(f"heads/{CARTPOLE.replace('/', '__')}/weights").continuous == ()
    assert folder.interface_of("world") == folder.interface
    run("train", world, CARTPOLE, PENDULUM, "--steps", 160)
    learner = WorldFolder.open(world).checkpoint.read("train/learner")
    assert learner["world/optimizer/born/rssm.core.from_action.linear.weight"][:, 0].all()
    assert load(world).model.state_dict()["rssm.core.from_action.linear.weight"][:, 0].any()
    agent = load(world).head(PENDULUM)
    environment = agent.task.make_environment(seed=0)
    assert environment.action_space.contains(agent.act(environment.reset()[0]))


def test_a_grown_world_resumes_bit_for_bit(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("train", world, CARTPOLE, PENDULUM, "--steps", 100)
    stopped = Path(shutil.copytree(world, world.with_name("stopped")))
    run("train", world, "--steps", 140)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 8)
        run("train", stopped, "--steps", 140, code=1)
    run("train", stopped, "--steps", 140)
    assert same(weights(world), weights(stopped))


def test_a_world_of_vectors_gains_images_and_its_old_rows_are_read_on(world: Path, tmp_path: Path) -> None:
    score, rows = played(world), WorldFolder.open(world).replay(read_only=True).rows
    run("train", world, pictured(tmp_path, 16), "--steps", 1)
    assert load(world).model.interface.image == (16, 16, 3)
    assert played(world) == score
    run("train", world, CARTPOLE, pictured(tmp_path, 16), "--steps", 160)
    replay = WorldFolder.open(world).replay(read_only=True)
    assert replay.rows == rows + 80
    assert replay.episodes()[0].image is not None
    assert np.isfinite(played(world)).all()


def test_a_frozen_world_takes_in_an_environment_with_a_warning(world: Path) -> None:
    frozen = WorldFolder.open(world).checkpoint.read("world")
    output = run("finetune", world, PENDULUM, "--updates", 0, "--steps", 60)
    assert "`manyheads train" in output
    assert same(frozen, WorldFolder.open(world).checkpoint.read("world"))
    assert load(world).heads == (CARTPOLE, PENDULUM)


def test_what_can_not_share_a_world_is_refused_and_nothing_changes(world: Path, tmp_path: Path) -> None:
    run("train", world, pictured(tmp_path, 16), "--steps", 1)
    text = (world / "world.yaml").read_bytes()
    with pytest.raises(ManyheadsError, match=r"image_size=32\) has images of 32 x 32 pixels, .*image_size=16\) of 16"):
        run("train", world, pictured(tmp_path, 32), "--steps", 1)
    with pytest.raises(ManyheadsError, match=r"image_size=16\) has images of 16 .* of 32 x 32: .*Give both the same"):
        run("train", tmp_path / "new", pictured(tmp_path, 32), pictured(tmp_path, 16), *SMALL)
    assert (world / "world.yaml").read_bytes() == text
    assert not (tmp_path / "new").exists()


def test_a_head_that_can_not_follow_is_refused_by_name(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a plugin's head with its own layer over actions, which it does not declare."""

    class Undeclared(actor_critic.Actor):
        def layout_axes(self):  # type: ignore[no-untyped-def]
            return {}

    text = (world / "world.yaml").read_bytes()
    monkeypatch.setattr(actor_critic, "Actor", Undeclared)
    with pytest.raises(ManyheadsError, match=r"lacks tensor actor\.mean\.bias\. The world has grown .*delete the"):
        run("train", world, PENDULUM, "--steps", 1)
    assert (world / "world.yaml").read_bytes() == text


KILLED = """
import os, sys
left = int(sys.argv[1])

def count(event, args):
    global left
    if event in ("os.rename", "os.remove", "os.mkdir", "shutil.rmtree") or (
        event == "open" and str(args[0]).startswith(sys.argv[2]) and args[1] and any(c in args[1] for c in "wa+x")
    ):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)

from pathlib import Path
from manyheads.storage.growth import grow
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import load_task
sys.addaudithook(count)
grow(WorldFolder.open(Path(sys.argv[2])), [load_task(sys.argv[3]).built()])
"""


def test_killed_at_any_step_of_growing_it_is_the_old_world_or_the_new_one(world: Path, tmp_path: Path) -> None:
    score, outcomes = played(world), []
    for step in range(50):
        copy = Path(shutil.copytree(world, tmp_path / f"copy{step}"))
        process = subprocess.run(
            [sys.executable, "-c", KILLED, str(step), copy, pictured(tmp_path, 16)], env=os.environ, check=False
        )
        grown = load(copy).model.interface.image is not None
        outcomes.append((process.returncode, grown))
        if step < 3 or grown:
            assert played(copy) == score
        if process.returncode == 0:
            break
    codes, grown_at = zip(*outcomes, strict=True)
    assert codes == (*[-signal.SIGKILL] * (len(codes) - 1), 0)
    assert not grown_at[0]
    assert grown_at[-1]
    assert [*grown_at] == sorted(grown_at)
    run("train", copy, pictured(tmp_path, 16), "--steps", 100, "--yes")
