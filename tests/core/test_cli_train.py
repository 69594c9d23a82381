"""What `manyheads train` and `finetune` do to the tasks of a world: three intentions, stale heads named, totals."""

import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from manyheads.api import budget
from manyheads.callbacks import TrainingEvent
from manyheads.cli import manyheads
from manyheads.cli.new import task_text
from manyheads.errors import ManyheadsError
from manyheads.learning.signal_ranges import RangeWatch
from manyheads.settings import load_settings
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import load_task

POLE, PENDULUM = "gymnasium/CartPole-v1", "gymnasium/Pendulum-v1"
TINY = [
    f"--set={each}"
    for each in (
        "world.deter=16", "world.hidden=8", "world.units=8", "training.batch_size=2", "training.batch_length=8",
        "training.num_envs=2", "training.train_ratio=2", "training.compile=false", "heads.actor_critic.horizon=2",
    )
]  # fmt: skip


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(manyheads, [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit | ManyheadsError):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world with one joint head, trained without any task file, and one fine-tuned head; only to be copied."""
    world = tmp_path_factory.mktemp("intentions") / "world"
    assert call("train", world, POLE, "--settings", "demo", "--steps", 60, *TINY).exit_code == 0
    assert call("finetune", world, "gymnasium/CartPole-v1-balance", "--updates", 2, "--no-check").exit_code == 0
    return world


@pytest.fixture
def world(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "world"))


def tasks_of(world: Path) -> list[str]:
    tasks: list[str] = WorldFolder.open(world).checkpoint.state["runs"]["train"]["tasks"]
    return tasks


def test_going_on_adding_and_training_alone(world: Path) -> None:
    refused = call("train", world, PENDULUM, "--steps", 100)
    assert str(refused.exception) == "Nothing was trained: nobody answered. --yes continues."
    assert f"The heads of {POLE}, gymnasium/CartPole-v1-balance are not trained along" in refused.output
    assert f"`manyheads train {world} --add {PENDULUM}` trains all together." in refused.output
    assert tasks_of(world) == [POLE]

    assert "nobody answered" in str(call("train", world, "--steps", 100).exception)  # the fine-tuned head
    assert call("train", world, "--steps", 64, "--yes").exit_code == 0
    assert call("train", world, "--add", PENDULUM, "--steps", 80).exit_code == 0  # nothing more becomes stale
    assert tasks_of(world) == [POLE, PENDULUM]
    assert call("train", world, PENDULUM, "--steps", 90, "--yes").exit_code == 0
    assert tasks_of(world) == [PENDULUM]
    folder = WorldFolder.open(world)
    assert {name for name in folder.heads if folder.is_stale(name)} == {POLE, "gymnasium/CartPole-v1-balance"}


def test_a_stale_head_is_marked_and_its_next_run_restarts(world: Path) -> None:
    name = "gymnasium/CartPole-v1-balance"
    done = call("finetune", world, name, "--updates", 2, "--no-check")
    assert f"The head of {name} has made 2 updates and 0 steps" in done.output
    assert call("train", world, "--steps", 80, "--yes").exit_code == 0
    played = call("evaluate", world, "--episodes", 1).output
    [marked] = [line for line in played.splitlines() if "(stale:" in line]
    assert marked.startswith(name)
    again = call("finetune", world, name, "--updates", 2)
    assert "2 / 2 updates" in again.output
    assert f"{name} in 5 real episodes:" in again.output
    assert not WorldFolder.open(world).is_stale(name)


def test_evaluating_while_training(world: Path) -> None:
    ran = call("train", world, "--steps", 120, "--evaluate-every", 20, "--evaluate-episodes", 1, "--yes")
    assert f"{POLE} at 80 steps: " in ran.output
    assert "in 1 episode; the best so far, kept" in ran.output
    assert call("evaluate", world, POLE, "--episodes", 1, "--best").exit_code == 0
    assert not (world / "evaluations.json").exists()
    assert "say how often with --evaluate-every" in str(call("train", world, "--patience", 2).exception)
    ended = call("train", world, "--steps", 900, "--minutes", 0.001, "--yes")
    assert "A callback ended the run at" in ended.output


def test_a_head_command_asks_and_a_copied_folder_is_named(world: Path) -> None:
    assert "nobody answered. --yes deletes" in str(call("head", "delete", world, POLE).exception)
    shutil.copytree(world / "heads" / "gymnasium__CartPole-v1", world / "heads" / "mine")
    assert f"{world}/heads/mine. Copied folders are not taken in" in call("evaluate", world, "--episodes", 1).output
    assert call("head", "copy", world, POLE, "second").output == f"Copied {POLE} to second.\n"
    assert call("head", "rename", world, "second", "third").exit_code == 0
    assert call("head", "delete", world, "third", "--yes").exit_code == 0
    assert set(WorldFolder.open(world).heads) == {POLE, "gymnasium/CartPole-v1-balance"}


def test_a_new_task_says_what_the_environment_is(tmp_path: Path) -> None:
    out = tmp_path / "pole.yaml"
    assert call("new", "task", POLE, "--out", out, "--set", "action_repeat=2").exit_code == 0
    task = load_task(out)
    assert (task.content.episode_steps, task.episode_steps) == (None, 250)
    assert task.options["action_repeat"] == 2
    assert "exists already" in str(call("new", "task", POLE, "--out", out).exception)
    assert yaml.safe_load(task_text(POLE, {}, 40))["episode_steps"] == 40
    assert "There is no option of gymnasium/CartPole-v1 named 'repeat'" in str(
        call("new", "task", POLE, "--set", "repeat=2").exception
    )
    [example] = [line for line in out.read_text().splitlines() if line.startswith("# success:")]
    changed = out.read_text().replace(example, example.removeprefix("# "))
    out.write_text(changed)
    assert load_task(out).success is not None
    limit = next(line for line in changed.splitlines() if "episode_steps" in line)
    out.write_text(changed.replace("than: 0}", "than: 0}, held_for: 101").replace(limit, "episode_steps: 100"))
    with pytest.raises(
        ManyheadsError, match="L2_EPISODE: Success comes after 101 steps at the earliest; an episode has 100"
    ):
        load_task(out)


def test_the_time_that_a_run_takes_is_learnt_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    settings, said, now = load_settings("demo"), [], iter([10.0, 50.0, 100.0])
    assert budget.forecast(settings, 1, 0, 100_000) == ""
    monkeypatch.setattr(budget.time, "monotonic", lambda: next(now))
    tell = budget.Forecast(settings, 1, 100_000, False, said.append)
    for steps in (1000, 1400, 1900):
        tell(TrainingEvent("update", steps, steps))
    assert said == [
        "98,100 steps take about 2 h 43 min here; `--steps 13900` would take 20 min 00 s. Ctrl-C saves at any time, "
        "and the same command continues."
    ]
    assert budget.forecast(settings, 1, 0, 1000) == (
        "1,000 steps take about 1 min 40 s here. Ctrl-C saves at any time, and the same command continues."
    )
    assert budget.forecast(settings, 2, 0, 1000) == ""
    assert (budget.default_steps(settings), budget.default_steps(load_settings("proprio"))) == (10_000, 100_000)


def test_signals_outside_their_range_are_said_once() -> None:
    import numpy as np

    instance, watch = load_task(PENDULUM).instance, RangeWatch()
    fine = {signal.name: np.zeros(3) for signal in instance.signals}
    wild = {**fine, "pole_angular_velocity": np.array([0.0, 9.0, 0.0])}
    assert [*watch.look(instance, fine)] == []
    [said] = watch.look(instance, wild)
    assert said.startswith(
        f"{PENDULUM}: the signal pole_angular_velocity was 9, outside its declared range [-8.0, 8.0]."
    )
    assert [*watch.look(instance, wild)] == []
