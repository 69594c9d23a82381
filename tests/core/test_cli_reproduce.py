"""`manyheads reproduce` runs the published protocol: what is observed, which settings, and nothing else unasked."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from manyheads.cli import manyheads
from manyheads.learning.settings import load_settings
from manyheads.storage.folder import WorldFolder

TASK = "dmc/cartpole-balance"
SMALL = ["training.slots=2", "world.size=demo"]
FEW = ["--steps", "64", *(f"--set={setting}" for setting in SMALL)]


def reproduce(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(manyheads, ["reproduce", *arguments])
    if code == 0 and result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "reproduce"


@pytest.mark.parametrize(
    ("suite", "preset", "options", "places"),
    [
        ("dmc_proprio", "proprio", {"vector": True, "image_size": None}, (5, None)),
        ("dmc_vision", "pixels", {"vector": False, "image_size": 64}, (0, (64, 64, 3))),
    ],
)
def test_each_suite_has_its_protocol(
    here: Path, suite: str, preset: str, options: dict[str, Any], places: tuple[int, Any]
) -> None:
    reproduce(TASK, "--suite", suite, *FEW)
    (made,) = (here / suite).iterdir()
    folder = WorldFolder.open(made)
    assert folder.settings == load_settings(preset, SMALL)
    task = folder.task(TASK)
    assert {name: task.options[name] for name in options} == options
    assert task.options["action_repeat"] == 2
    assert (len(folder.interface.vector), folder.interface.image) == places
    assert (made / "curve.svg").stat().st_size
    assert folder.checkpoint.state["steps"] == 32


def test_the_camera_is_the_published_one(here: Path) -> None:
    reproduce("dmc/quadruped-walk", "--suite", "dmc_vision", "--steps", "4", *FEW[2:])
    (made,) = (here / "dmc_vision").iterdir()
    assert WorldFolder.open(made).task("dmc/quadruped-walk").options["camera"] == 2


def test_other_settings_are_another_run_and_the_same_command_goes_on(here: Path) -> None:
    reproduce(TASK, *FEW)
    reproduce(TASK, *FEW, "--set", "optimizer.rate=1.6e-4")
    reproduce(TASK, *FEW, "--set", "optimizer.rate=1.6e-4", "--seed", "1")
    made = sorted((here / "dmc_proprio").iterdir())
    found = [WorldFolder.open(path).settings for path in made]
    assert [(each.seed, each.optimizer.rate) for each in found] == [(0, 1.6e-4), (0, 4e-5), (1, 1.6e-4)]
    reproduce(TASK, *FEW, "--steps", "80")
    assert sorted((here / "dmc_proprio").iterdir()) == made
    assert WorldFolder.open(made[1]).checkpoint.state["steps"] == 40


def test_what_a_run_does_not_have_is_refused(here: Path) -> None:
    reproduce(TASK, *FEW, "--world", "mine")
    for other, message in (
        (["--set", "optimizer.rate=0.5"], "was made with other settings: optimizer.rate"),
        (["--seed", "7"], "was made with other settings: seed"),
        (["--suite", "dmc_vision"], "image_size"),
    ):
        assert message in str(reproduce(TASK, *FEW, "--world", "mine", *other, code=1).exception)
