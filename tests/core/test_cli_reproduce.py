"""`manyheads reproduce` runs the published protocol: what is observed, which settings, and nothing else unasked."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from manyheads.cli import manyheads
from manyheads.cli.reproduce import _folder
from manyheads.report import published
from manyheads.settings import load_settings
from manyheads.storage.world_folder import WorldFolder

TASK = "dmc/cartpole-balance"
SMALL = ["training.num_envs=2", "world.size=demo"]
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
        ("dmc/proprio", "proprio", {"vector": True, "image_size": None}, (5, None)),
        ("dmc/vision", "pixels", {"vector": False, "image_size": 64}, (0, (64, 64, 3))),
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
    reproduce("dmc/quadruped-walk", "--suite", "dmc/vision", "--steps", "4", *FEW[2:])
    (made,) = (here / "dmc/vision").iterdir()
    assert WorldFolder.open(made).task("dmc/quadruped-walk").options["camera"] == 2


def test_other_settings_are_another_run_and_the_same_command_continues(here: Path) -> None:
    reproduce(TASK, *FEW)
    reproduce(TASK, *FEW, "--set", "optimizer.lr=1.6e-4")
    reproduce(TASK, *FEW, "--set", "optimizer.lr=1.6e-4", "--seed", "1")
    made = sorted((here / "dmc/proprio").iterdir())
    found = [WorldFolder.open(path).settings for path in made]
    assert [(each.seed, each.optimizer.lr) for each in found] == [(0, 1.6e-4), (0, 4e-5), (1, 1.6e-4)]
    reproduce(TASK, *FEW, "--steps", "80")
    assert sorted((here / "dmc/proprio").iterdir()) == made
    assert WorldFolder.open(made[1]).checkpoint.state["steps"] == 40


def test_what_a_run_does_not_have_is_refused(here: Path) -> None:
    reproduce(TASK, *FEW, "--world", "mine")
    for other, message in (
        (["--set", "optimizer.lr=0.5"], "was made with other settings: optimizer.lr"),
        (["--seed", "7"], "was made with other settings: seed"),
        (["--suite", "dmc/vision"], "already has a head for another task named"),
    ):
        assert message in str(reproduce(TASK, *FEW, "--world", "mine", *other, code=1).exception)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "dmc__cartpole-balance-3"),
        (["b=2", "a=1"], "dmc__cartpole-balance-3-a=1-b=2"),
        (["a=1", "b=2", "a=0"], "dmc__cartpole-balance-3-a=0-b=2"),
        (["a=../x y"], "dmc__cartpole-balance-3-a=..__x y"),
    ],
)
def test_each_way_of_running_a_task_has_a_folder(overrides: list[str], name: str) -> None:
    assert _folder(TASK, 3, overrides) == name


class Recorded:
    """In place of a trainer: one that has collected `begun` rows, and whose episodes end and score as recorded."""

    begun = 0
    stops: list[int]

    def __init__(self, _: Any, tasks: Any) -> None:
        self.task, self.steps = tasks[0].name, self.begun

    def collect_and_learn(self, steps: int, _: Any, metrics: Any) -> None:
        self.stops.append(steps)
        for end, score in ((8_000, 135.0), (16_000, 130.0), (24_000, 420.0)):
            if self.steps < end <= steps:
                metrics.write(end, 0, {f"{self.task}/simulator": score})
        self.steps = steps

    def close(self) -> None:
        pass


def test_a_run_is_followed_to_its_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = "dmc/walker-stand"
    monkeypatch.setattr("manyheads.cli.reproduce.Trainer", Recorded)
    Recorded.stops = []
    said = " ".join(reproduce(stand, "--world", "run").output.split())
    assert Recorded.stops == [10_000, 20_000, 25_000]
    early = f"{stand} at 40,000 steps: 130, no better than its first episodes and below the way to the published band"
    mark = f"{stand} at 50,000 steps: 275, inside the published band 269 to 427"
    assert [said.count(early), said.count(mark), said.count("275.0")] == [1, 1, 1]
    assert "(215 here)" in said

    monkeypatch.setattr(Recorded, "begun", 20_000)
    Recorded.stops = []
    again = " ".join(reproduce(stand, "--world", "taken-up").output.split())
    assert Recorded.stops == [25_000]
    assert ("no better" in again, again.count("at 50,000 steps: 420, inside")) == (False, 1)

    few = reproduce(stand, "--world", "few", "--suite", "dmc/vision", "--steps", "30000").output
    assert "the first published mark is at 100,000 steps" in few
    reproduce(stand, "--suite", "dmc/vision")
    assert Recorded.stops[-1] == 50_000, "to the first mark, at 100,000 steps"


def test_a_whole_suite_is_one_command_that_continues(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = published.load_suite("dmc/proprio")
    two = {name: suite.scores[name] for name in (TASK, "dmc/cartpole-swingup")}
    monkeypatch.setattr("manyheads.cli.reproduce.load_suite", lambda name: suite.model_copy(update={"scores": two}))
    for steps in ("64", "80"):
        result = reproduce("--suite", "dmc/proprio", *FEW[2:], "--steps", steps)
        assert "no task has reached its first published mark" in result.output
        worlds = [path for path in (here / "dmc/proprio").iterdir() if path.is_dir()]
        assert [WorldFolder.open(path).checkpoint.state["steps"] for path in worlds] == [int(steps) // 2] * 2
    failed = reproduce("--suite", "dmc/proprio", "--set", "training.num_envs=0", "--steps", "64", code=1)
    assert "2 of 2 tasks failed; the same command tries them again" in str(failed.exception)
    assert "training.num_envs" in str(failed.exception)
    assert "Name a task, or a suite" in str(reproduce(code=1).exception)
