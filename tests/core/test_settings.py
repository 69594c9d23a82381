"""Settings are checked before a world is made of them: also those of heads, each mistake where it was made."""

from pathlib import Path

import pytest
import torch

from manyheads.cli.train import open_or_create
from manyheads.errors import ManyheadsError
from manyheads.learning.settings import head_settings, load_settings
from manyheads.task import load_task

TASK = "dmc/cartpole-swingup"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("heads.actor_critic.horizn=3", "There is no setting named 'heads.actor_critic.horizn'. Did you mean heads."),
        ("heads.actor_critic.horizon=far", "setting heads.actor_critic.horizon='far': Input should be a valid integer"),
        ("heads.actor_crtic.horizon=3", "There is no head named 'actor_crtic'. Did you mean actor_critic?"),
        ("heads.actor_critic=3", "--set: setting heads.actor_critic=3: "),
        ("training.batch=many", "--set: setting training.batch='many': Input should be a valid integer"),
        ("training.batch", "--set training.batch: expected NAME=VALUE, for example --set training.batch=16."),
        ("training.batch=[1", "--set training.batch=[1: no valid YAML: "),
        ("training.batch=.inf", "--set training.batch=.inf: .inf is no finite number."),
        ("training.batch=0x10", "setting training.batch='0x10': Input should be a valid integer"),
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
    with pytest.raises(ManyheadsError, match=r"mine\.yaml: setting training\.batch='many'"):
        load_settings(path, ["training.length=8"])


def test_settings_of_a_head() -> None:
    settings = load_settings("demo", ["heads.actor_critic.horizon=3"])
    assert head_settings(settings, "actor_critic").horizon == 3
    assert head_settings(load_settings("demo"), "actor_critic").horizon == 15


def test_a_preset_that_changed_since_leaves_a_worlds_own_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, tasks = tmp_path / "world", [load_task(TASK)]
    asked = ["training.batch=4", "heads.actor_critic.horizon=3"]
    made, _ = open_or_create(world, tasks, "demo", [*asked, "world.free_nats=0.7", "optimizer.rate=1e-3"])
    again, _ = open_or_create(world, tasks, "demo", asked)  # as if the preset had said 0.7 and 1e-3 then
    assert again.settings == made.settings
    assert capsys.readouterr().err == (
        f"{world} goes on with its own settings; demo differs in world.free_nats, optimizer.rate.\n"
    )
    open_or_create(world, tasks, None, asked)
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "overrides", "wrong"),
    [
        ("", ["training.batch=8"], "training.batch"),
        ("", ["heads.actor_critic.horizon=4"], "heads.actor_critic.horizon"),
        ("", ["world={size: 1m}"], r"world\.size, world\.deter"),
        ("training: {batch: 8}", [], "training.batch"),
        ("training: {batch: 4}\nseed: 1", [], "seed"),
    ],
)
def test_a_user_who_asks_for_other_settings_is_refused(
    text: str, overrides: list[str], wrong: str, tmp_path: Path
) -> None:
    world, file = tmp_path / "world", tmp_path / "mine.yaml"
    open_or_create(world, [load_task(TASK)], "demo", ["training.batch=4"])
    file.write_text(text)
    with pytest.raises(ManyheadsError, match=f"was made with other settings: {wrong}"):
        open_or_create(world, [], str(file) if text else "demo", overrides)
    with pytest.raises(ManyheadsError, match=r"Did you mean training\.batch"):
        open_or_create(world, [], "demo", ["training.batsh=4"])


def test_device_that_this_machine_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ManyheadsError, match="torch finds no CUDA device here"):
        open_or_create(tmp_path / "world", [load_task(TASK)], "demo", ["training.device=cuda"])
    assert not (tmp_path / "world").exists()
