"""Every benchmark that a user runs says what it takes; every experiment runs at toy size, and again from its files."""

import json
import runpy
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

SCRIPTS = sorted((Path(__file__).parent.parent / "benchmarks").glob("*.py"))
SIDES = {"peer.py", "peer_manyheads.py", "peer_sheeprl.py"}
"""what `peers.py` runs in their own processes, with their own packages"""
SHARED = {"experiment.py", "cartpole_goals.py"}
"""what experiments import"""


@pytest.mark.parametrize(
    "script", [path for path in SCRIPTS if path.name not in SIDES | SHARED], ids=lambda path: path.stem
)
def test_it_says_what_it_takes(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(script.parent))
    found = {name: value for name, value in runpy.run_path(str(script)).items() if isinstance(value, click.Command)}
    groups = [command for command in found.values() if isinstance(command, click.Group)]
    for command in [*found.values(), *(part for group in groups for part in group.commands.values())]:
        if command in groups:
            continue
        result = CliRunner().invoke(command, ["--help"])
        assert result.exit_code == 0, result.output
        assert "--json" in result.output or "JSON" in result.output
    assert found


TOY = (
    "training.compile=false",
    "training.batch_size=2",
    "training.batch_length=8",
    "training.train_ratio=4",
    "world.deter=16",
    "world.units=16",
    "world.hidden=16",
)
"""on top of an experiment's own settings"""
MIXED = ("gymnasium/CartPole-v1", "minigrid/Empty-5x5-v0-goal", "atari/Freeway-cross")
EXPERIMENTS: dict[str, tuple[list[str], int]] = {
    "mixture": (["--steps=60", *(f"--task={task}" for task in MIXED), f"--alone={MIXED[0]}"], 3),
    "growing": (["--steps", "90", "--more", "90", "--third", "gymnasium/CartPole-v1"], 3),
    "adaptation": (["--steps", "60", "--scratch", "60", "--updates", "1", "--goal", "spin"], 8),
    "exploring": (["--steps", "60", "--updates", "1", "--goal", "spin"], 1),
    "ranking": (["--steps", "120", "--updates", "1", "--goal", "spin"], 1),
}
"""What each is run with, and how many lines its table has."""


LONG = ("adaptation",)
"""plays so many ways that it takes a minute even as a toy"""


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in EXPERIMENTS])
def test_an_experiment_runs_once_and_is_read_back(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manyheads.learning.prediction.ReturnPredictor.fit.__defaults__", (2,))
    arguments, lines = EXPERIMENTS[name]
    settings = [f"--set={setting}" for setting in TOY]
    first = _printed(name, [str(tmp_path), *arguments, *settings, "--episodes=2", "--json"], monkeypatch)
    assert len(first["lines"]) == lines
    monkeypatch.setattr("manyheads.SharedWorld.train", None)
    monkeypatch.setattr("manyheads.SharedWorld.evaluate", None)
    assert _printed(name, [str(tmp_path), *arguments, *settings, "--episodes=2", "--json"], monkeypatch) == first


def test_collection_is_timed_next_to_the_bare_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--environment=cartpole", "--steps=20", "--rounds=1", "--workers=1", "--envs=2", "--json"]
    (line,) = _printed("collecting", arguments, monkeypatch)["lines"]
    assert line["cost"] == pytest.approx(line["bare"] / line["collected"] - 1)
    assert line["1 workers"] > 0


def _printed(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The JSON object that a benchmark prints last."""
    folder = Path(__file__).parent.parent / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    result = CliRunner().invoke(runpy.run_path(str(folder / f"{name}.py"))["main"], arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found
