"""The loop on a real simulator: it resumes bit for bit after a stop, loses nothing when killed, names mistakes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from click.testing import CliRunner
from torch._inductor.exc import CppCompileError

from manyheads import ManyheadsError, load
from manyheads.cli import manyheads
from manyheads.experience.collector import Collector
from manyheads.experience.replay import Replay
from manyheads.experience.vector_env import EnvSlot
from manyheads.learning import trainer
from manyheads.learning.learner import Learner
from manyheads.storage.world_folder import WorldFolder
from manyheads.world.model import World

TASKS = ["dmc/cartpole-swingup", "dmc/cartpole-balance_spec"]
TINY = [
    f"--set={setting}"
    for setting in (
        "world.deter=16", "world.hidden=8", "world.groups=4", "world.classes=4", "world.units=8",
        "heads.actor_critic.horizon=3", "training.batch_size=4", "training.batch_length=8", "training.num_envs=2",
        "training.train_ratio=4", "training.checkpoint_minutes=0.02", "training.compile=false",
        "training.precision=float32",
    )
]  # fmt: skip


def run(*arguments: object, code: int = 0) -> str:
    """Runs the command line in this process and returns what it printed."""
    result = CliRunner().invoke(manyheads, [str(argument) for argument in arguments])
    if code == 0 and result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def weights(world: Path) -> dict[str, torch.Tensor]:
    checkpoint = WorldFolder.open(world).checkpoint
    return {f"{name}/{key}": value for name in checkpoint.names for key, value in checkpoint.read(name).items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def interrupt_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Ctrl-C while the collector works for the `call`-th time."""
    collect, calls = Collector.collect, iter(range(1, call + 1))

    def interrupted(self: Collector, act: Any) -> Any:
        if next(calls, None) == call:
            signal.raise_signal(signal.SIGINT)
        return collect(self, act)

    monkeypatch.setattr(Collector, "collect", interrupted)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world trained on the first task alone; only to be copied."""
    folder = tmp_path_factory.mktemp("trained") / "world"
    run("train", folder, TASKS[0], "--steps", 100, *TINY)
    return folder


@pytest.fixture
def world(trained: Path, tmp_path: Path) -> Path:
    """A copy of that world for one test."""
    return Path(shutil.copytree(trained, tmp_path / "world"))


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], dict[str, torch.Tensor]]:
    """Weights of a world trained without a stop, by train ratio and steps; each is trained once."""

    @cache
    def trained(ratio: int, steps: int) -> dict[str, torch.Tensor]:
        folder = tmp_path_factory.mktemp("straight") / "world"
        run("train", folder, *TASKS, *TINY, f"--set=training.train_ratio={ratio}", "--steps", steps)
        return weights(folder)

    return trained


@pytest.mark.parametrize(("ratio", "call"), [(4, 70), (4, 71), (32, 25), (32, 30)])
def test_a_stopped_run_resumes_bit_for_bit(
    ratio: int,
    call: int,
    straight: Callable[[int, int], dict[str, torch.Tensor]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stopped between updates, before one, before several, and in the last rows."""
    stopped = tmp_path / "stopped"
    new = [*TASKS, *TINY, f"--set=training.train_ratio={ratio}"]
    steps = 200 if ratio == 4 else 60
    with monkeypatch.context() as patch:
        interrupt_at(patch, call)
        run("train", stopped, *new, "--steps", steps, code=1)
    assert 0 < WorldFolder.open(stopped).checkpoint.state["steps"] == 2 * call
    run("train", stopped, "--steps", steps)
    assert same(straight(ratio, steps), weights(stopped))


def test_a_stopped_online_finetune_resumes_bit_for_bit(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = world.with_name("stopped")
    shutil.copytree(world, stopped)
    arguments = [TASKS[1], "--updates", 2, "--steps", 80]
    run("finetune", world, *arguments)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 21)
        run("finetune", stopped, *arguments, code=1)
    run("finetune", stopped, *arguments)
    assert same(weights(world), weights(stopped))


@pytest.fixture
def refreshed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each run refreshed; all latents are then those of the frozen world."""
    counts = []
    refresh = trainer.refresh_latents

    def counted(world: World, replay: Replay, seed: int) -> int:
        counts.append(refresh(world, replay, seed))
        assert replay.stale_episodes() == []
        return counts[-1]

    monkeypatch.setattr(trainer, "refresh_latents", counted)
    return counts


def test_latents_are_refreshed_once_for_each_state_of_the_world(world: Path, refreshed: list[int]) -> None:
    run("finetune", world, TASKS[1], "--updates", 0, "--steps", 10)
    run("finetune", world, TASKS[1], "--updates", 2, "--steps", 20)
    run("train", world, "--steps", 120, "--yes")
    run("finetune", world, TASKS[1], "--updates", 2, "--steps", 30)
    assert refreshed == [100, 0, 140]


def test_latents_that_were_deleted_are_made_again(world: Path, refreshed: list[int]) -> None:
    run("finetune", world, TASKS[1], "--updates", 2)
    for path in world.rglob("*.latents"):
        path.unlink()
    run("finetune", world, TASKS[1], "--updates", 4)
    assert refreshed == [100, 100]


def test_latents_of_a_world_that_was_killed_before_it_was_saved_are_made_again(
    world: Path, refreshed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint is as it was when the head was trained, but the world had moved on and written its latents."""
    run("finetune", world, TASKS[1], "--updates", 2)
    before = weights(world)
    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "save", Mock(side_effect=SystemExit(9)))
        CliRunner().invoke(manyheads, ["train", str(world), "--steps", "140", "--yes"])
    assert same(before, weights(world))
    run("finetune", world, TASKS[1], "--updates", 4)
    assert refreshed[0] == 100
    assert refreshed[1] > 40


def test_a_stopped_run_at_capacity_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    new = [TASKS[0], *TINY, "--set=training.capacity_rows=1024", "--set=training.train_ratio=0.5"]
    run("train", straight, *new, "--steps", 1400)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 619)
        run("train", stopped, *new, "--steps", 1400, code=1)
    run("train", stopped, "--steps", 1400)
    assert same(weights(straight), weights(stopped))
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.rows")}
        for folder in (straight, stopped)
    ]
    assert files[0] == files[1]


def test_an_environment_that_fails_for_good_ends_the_run_with_what_was_learned(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = WorldFolder.open(world).checkpoint.state["steps"]
    make, calls = EnvSlot.make, []

    def breaks(self: EnvSlot) -> Any:
        env = make(self)
        step = env.env.step

        def broken(action: Any) -> Any:
            calls.append(1)
            if len(calls) > 60:
                raise OSError("the licence server is gone")
            return step(action)

        monkeypatch.setattr(env.env, "step", broken, raising=False)
        return env

    with monkeypatch.context() as patch:
        patch.setattr(EnvSlot, "make", breaks)
        with pytest.raises(
            ManyheadsError, match=r"Environment \d, dmc/cartpole .*: the licence server is gone\. That is"
        ):
            run("train", world, "--steps", 1000)
    saved = WorldFolder.open(world)
    assert saved.checkpoint.state["steps"] > steps
    assert saved.replay(read_only=True).rows == saved.checkpoint.state["steps"]
    run("train", world, "--steps", 200)


@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP"])
def test_a_signal_to_the_whole_group_saves(world: Path, number: str) -> None:
    """As a batch system or a terminal that is closed sends it: to workers too, which leave it to their parent."""
    path = world / "world.yaml"
    path.write_text(path.read_text().replace("workers: 0", "workers: 2"))
    command = [sys.executable, "-m", "manyheads", "train", str(world), "--steps", "1000000"]
    own = signal.signal(getattr(signal, number), signal.SIG_DFL)  # `nohup` ignores SIGHUP, and who inherits that
    try:
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(getattr(signal, number), own)
    before = WorldFolder.open(world).replay(read_only=True).rows
    deadline = time.monotonic() + 120
    while WorldFolder.open(world).replay(read_only=True).rows < before + 20 and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(process.pid, getattr(signal, number))
    time.sleep(0.05)
    os.killpg(process.pid, getattr(signal, number))
    _, output = process.communicate(timeout=60)
    # the second signal may arrive when all is saved and the process is about to end by itself
    assert process.returncode in (130, -getattr(signal, number)), output
    assert "Stopped and saved at" in output
    saved = WorldFolder.open(world)
    assert saved.checkpoint.state["steps"] == saved.replay(read_only=True).rows


def test_ctrl_c_that_ends_the_compiler_too_is_no_traceback(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Learner, *_: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        raise compiler_error

    compiler_error = CppCompileError(["g++"], "")
    before, rows = weights(world), WorldFolder.open(world).replay(read_only=True).rows
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "update", interrupted)
        result = CliRunner().invoke(manyheads, ["train", str(world), "--steps", "140"])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "Stopped while compiling" in result.output
    assert same(before, weights(world))
    assert WorldFolder.open(world).replay(read_only=True).rows > rows
    run("train", world, "--steps", 140)
    monkeypatch.setattr(Learner, "update", Mock(side_effect=compiler_error))
    with pytest.raises(CppCompileError):  # nobody asked to stop
        run("train", world, "--steps", 160)


def test_a_gpu_without_memory_is_no_traceback(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")
    before = weights(world)
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "update", Mock(side_effect=full))
        with pytest.raises(ManyheadsError, match=r"CUDA out of memory\. The last checkpoint stands"):
            run("train", world, "--steps", 140)
    assert same(before, weights(world))
    run("train", world, "--steps", 140)


def test_learned_loss_weights_are_saved_and_continue(tmp_path: Path) -> None:
    folder = tmp_path / "world"
    learned = []
    for steps, settings in ((100, [*TINY, "--set=world.loss_weights=harmonised"]), (140, [])):
        run("train", folder, TASKS[0], "--steps", steps, *settings)
        harmony = load(folder).model.harmony
        assert harmony is not None
        learned.append({name: s.item() for name, s in harmony.s.items()})
    assert learned[0].keys() == {"dyn", "rep", "vector"}
    assert all(0 != s != learned[1][name] for name, s in learned[0].items())


def test_fine_tuning_leaves_the_world_alone_and_needs_no_steps(world: Path) -> None:
    before = WorldFolder.open(world)
    rows = before.replay(read_only=True).rows
    kept = before.checkpoint.read("world")
    run("finetune", world, TASKS[1], "--updates", 5)
    after = WorldFolder.open(world)
    assert same(kept, after.checkpoint.read("world"))
    assert after.replay(read_only=True).rows == rows
    assert after.heads == tuple(TASKS)


def test_fine_tuning_online_collects_for_its_task_alone(world: Path) -> None:
    rows = WorldFolder.open(world).replay(read_only=True).rows
    run("finetune", world, TASKS[1], "--updates", 2, "--steps", 60)
    assert WorldFolder.open(world).replay(read_only=True).rows == rows + 60


def test_a_loaded_head_acts_on_native_observations(world: Path) -> None:
    agent = load(world).head(TASKS[0])
    environment = agent.task.make_environment(seed=1)
    observation, info = environment.reset()
    agent.reset()
    for _ in range(3):
        action = agent.act(observation, info)
        assert environment.action_space.contains(action)
        observation, _, _, _, info = environment.step(action)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "WORLD"], "is new: name at least one task"),
        (["train", "WORLD", "dmc/cartpole-swingpu"], "Did you mean dmc/cartpole-swingup"),
        (["train", "WORLD", TASKS[0], "--set", "training.batsh=3"], "Did you mean training.batch"),
        (["train", "WORLD", TASKS[0], "--set", "training.batch_size=many"], "training.batch_size='many'"),
        (["train", "WORLD", TASKS[0], "--settings", "dmeo"], "Did you mean demo"),
        (["finetune", "WORLD", TASKS[0]], "holds no world"),
        (["evaluate", "WORLD"], "holds no world"),
        (["show", "WORLD"], "holds no world"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(manyheads, [str(tmp_path / "w") if word == "WORLD" else word for word in arguments])
    assert isinstance(result.exception, ManyheadsError)
    assert message in str(result.exception)


def test_a_task_with_a_mistake_in_its_reward_is_not_saved(tmp_path: Path) -> None:
    task = tmp_path / "task.yaml"
    reward = "{source: python, function: 'math:sqrt', signals: [cart_psition]}"
    task.write_text(f"version: 1\nenvironment: dmc/cartpole\nreward: {reward}\nepisode_steps: 9\n")
    with pytest.raises(ManyheadsError, match=r"task\.yaml:3: reward\.signals\.0: .*Did you mean cart_position"):
        run("train", tmp_path / "world", task, *TINY)
    assert not (tmp_path / "world").exists()


def test_a_head_is_not_silently_replaced_by_another_task_of_its_name(world: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    text = (world / "heads" / "dmc__cartpole-swingup" / "task.yaml").read_text()
    path = other / "dmc__cartpole-swingup.yaml"
    path.write_text(text)
    run("finetune", world, path, "--updates", 1)  # a task of another name
    path.write_text(text.replace("episode_steps: 500", "episode_steps: 400"))
    with pytest.raises(ManyheadsError, match="already has a head for another task"):
        run("finetune", world, path, "--updates", 1)


def test_a_newer_world_is_refused(world: Path) -> None:
    path = world / "world.yaml"
    path.write_text(path.read_text().replace("format: 3", "format: 99"))
    with pytest.raises(ManyheadsError, match="written by a newer manyheads"):
        load(world)


@pytest.mark.slow
def test_ten_kills_lose_no_written_row(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "manyheads", "train", str(tmp_path / "w"), *TASKS, "--steps", "1000000"]
    rows = 0
    for attempt in range(10):
        process = subprocess.Popen([*command, *(TINY if attempt == 0 else [])], stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(5, 12))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        replay = WorldFolder.open(tmp_path / "w").replay(read_only=True)
        assert replay.rows > rows, f"nothing was added before kill {attempt}"
        rows = replay.rows
