"""Settings are checked before a world is made of them: also those of heads, each mistake where it was made."""

from pathlib import Path

import pytest
import torch

from manyheads.api.opening import open_or_create
from manyheads.errors import ManyheadsError
from manyheads.learning.device import choose_device
from manyheads.registry import registry
from manyheads.renamed_settings import RENAMED, _say_once
from manyheads.settings import Settings, differences, head_settings, load_settings, setting_names
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import Task, load_task

TASK = "dmc/cartpole-swingup"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("heads.actor_critic.horizn=3", "There is no setting named 'heads.actor_critic.horizn'. Did you mean heads."),
        ("heads.actor_critic.horizon=far", "setting heads.actor_critic.horizon='far': Input should be a valid integer"),
        ("heads.actor_crtic.horizon=3", "There is no head named 'actor_crtic'. Did you mean actor_critic?"),
        ("heads.actor_critic=3", "--set: setting heads.actor_critic=3: "),
        ("training.batch_size=many", "--set: setting training.batch_size='many': Input should be a valid integer"),
        ("training.batch", "--set training.batch: expected NAME=VALUE, for example --set training.batch_size=16."),
        ("training.batch_size=[1", "--set training.batch_size=[1: no valid YAML: "),
        ("training.batch_size=.inf", "--set training.batch_size=.inf: .inf is not a finite number."),
        ("training.batch_size=0x10", "setting training.batch_size='0x10': Input should be a valid integer"),
        ("world.kernel=4", "--set: setting world: Value error, kernel=4 is even"),
    ],
)
def test_override_that_is_wrong(override: str, message: str) -> None:
    with pytest.raises(ManyheadsError) as caught:
        load_settings("demo", [override])
    assert message in str(caught.value)


def test_file_that_is_wrong_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("training: {batch: many}\n")
    with pytest.raises(ManyheadsError, match=r"mine\.yaml: setting training\.batch_size='many'"):
        load_settings(path, ["training.batch_length=8"])


def test_settings_of_a_head() -> None:
    settings = load_settings("demo", ["heads.actor_critic.horizon=3"])
    assert head_settings(settings, "actor_critic").horizon == 3
    assert head_settings(load_settings("demo"), "actor_critic").horizon == 15


def begun(world: Path, tasks: list[Task], overrides: list[str]) -> WorldFolder:
    """A world that has recorded something: an empty one is recreated by whatever comes next."""
    made, _ = open_or_create(world, tasks, "demo", overrides)
    (world / "recorded.rows").touch()
    return made


def test_a_preset_that_changed_since_leaves_a_worlds_own_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, tasks = tmp_path / "world", [load_task(TASK)]
    asked = ["training.batch_size=4", "heads.actor_critic.horizon=3"]
    made = begun(world, tasks, [*asked, "world.free_nats=0.7", "optimizer.lr=1e-3"])
    again, _ = open_or_create(world, tasks, "demo", asked)  # as if the preset had said 0.7 and 1e-3 then
    assert again.settings == made.settings
    assert capsys.readouterr().err == (
        f"{world} continues with its own settings; demo differs in world.free_nats, optimizer.lr.\n"
    )
    open_or_create(world, tasks, None, asked)
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "overrides", "wrong"),
    [
        ("", ["world={size: 1m}"], r"world\.size, world\.deter"),
        ("", ["training.batch_size=8", "world.free_nats=0.5"], r"world\.free_nats\."),
        ("training: {batch: 8}\nseed: 1", [], r"seed\."),
    ],
)
def test_a_user_who_asks_for_another_world_is_refused(
    text: str, overrides: list[str], wrong: str, tmp_path: Path
) -> None:
    world, file = tmp_path / "world", tmp_path / "mine.yaml"
    made = begun(world, tasks := [load_task(TASK)], ["training.batch_size=4"])
    file.write_text(text)
    with pytest.raises(ManyheadsError, match=f"was made with other settings: {wrong}"):
        open_or_create(world, tasks, str(file) if text else "demo", overrides)
    with pytest.raises(ManyheadsError, match=r"Did you mean training\.batch"):
        open_or_create(world, tasks, "demo", ["training.batsh=4"])
    assert WorldFolder.open(world).settings == made.settings


def test_what_may_be_changed_of_a_world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The machine's settings for one time, in an override or a file; learning's from now on, in its history."""
    world, tasks, file = tmp_path / "world", [load_task(TASK)], tmp_path / "mine.yaml"
    made = begun(world, tasks, [])
    file.write_text("training: {workers: 2, train_ratio: 8}\n")
    now, _ = open_or_create(world, tasks, str(file), ["training.compile=false", "heads.actor_critic.lam=0.5"])
    assert (now.settings.training.workers, now.settings.training.compile) == (2, False)
    assert f"{world} continues with other settings, noted in its history: " in capsys.readouterr().err
    with pytest.raises(ManyheadsError, match=r"was made with other settings: training\.train_ratio"):
        open_or_create(world, tasks, None, ["training.train_ratio=9"], may_change=False)
    again = WorldFolder.open(world)
    assert again.settings.training == made.settings.training.model_copy(update={"train_ratio": 8.0})
    assert head_settings(again.settings, "actor_critic").lam == 0.5
    [change] = again.history
    assert change.changes["training.train_ratio"] == (384.0, 8.0)
    assert change.changes["heads.actor_critic.lam"] == (None, 0.5)
    assert now.grown([]).saved_settings == again.settings


def test_a_world_of_a_gpu_continues_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world, tasks = tmp_path / "world", [load_task(TASK)]
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        made = begun(world, tasks, ["training.device=cuda"])
        assert choose_device(made) == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(WorldFolder.open(world)) == "cpu"
    assert f"{world} was trained on cuda, which this machine lacks: it continues on the cpu." in caplog.text
    asked, _ = open_or_create(world, tasks, None, ["training.device=cuda"])
    with pytest.raises(ManyheadsError, match="torch finds no CUDA device here"):
        choose_device(asked)


def test_device_that_this_machine_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ManyheadsError, match="torch finds no CUDA device here"):
        open_or_create(tmp_path / "world", [load_task(TASK)], "demo", ["training.device=cuda"])
    assert not (tmp_path / "world").exists()


def test_names_of_the_version_before_are_read_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _say_once.cache_clear()
    path = tmp_path / "old.yaml"
    path.write_text(
        "training: {ratio: 7, slots: 3}\noptimizer: {rate: 0.5, clip: 0.1}\nheads: {actor_critic: {trace: 0.5}}\n"
    )
    settings = load_settings(path, ["training.batch=4"])
    assert (settings.training.train_ratio, settings.training.num_envs, settings.training.batch_size) == (7, 3, 4)
    assert (settings.optimizer.lr, settings.optimizer.agc) == (0.5, 0.1)
    assert head_settings(settings, "actor_critic").lam == 0.5
    said = capsys.readouterr().err
    assert f"{path}: the setting training.ratio is now called training.train_ratio" in said
    assert "--set: the setting training.batch is now called training.batch_size" in said
    assert differences(settings, path, ["training.batch=5"])[0] == ["training.batch_size"]


def test_every_renamed_setting_exists_under_its_new_name() -> None:
    known = {
        *setting_names(Settings),
        *setting_names(registry().heads["actor_critic"].load().settings, "heads.actor_critic."),
    }
    assert {*RENAMED.values()} <= known
    assert not {*RENAMED} & known
