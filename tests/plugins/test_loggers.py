"""Weights & Biases offline and MLflow in a folder get what `metrics.jsonl` gets; a logger that fails ends nothing."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from manyheads.cli import manyheads
from manyheads.errors import ManyheadsError
from manyheads.loggers import LoggerKind
from manyheads.registry import registry
from manyheads.report.metrics import FILE

TASK = """
version: 1
environment: gymnasium/CartPole-v1
reward: {source: environment}
episode_steps: 20
goal: Balance.
"""
TINY = (
    "world.deter=16", "world.hidden=8", "world.units=8", "training.batch_size=2", "training.batch_length=8",
    "training.num_envs=2", "training.train_ratio=2", "training.compile=false", "heads.actor_critic.horizon=2",
)  # fmt: skip


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "balance.yaml").write_text(TASK)
    return tmp_path / "balance.yaml"


def train(task: Path, *arguments: str) -> Any:
    settings = [f"--set={each}" for each in TINY]
    world = task.parent / "world"
    command = ["train", str(world), str(task), "--settings", "demo", *settings, "--steps", "120", *arguments]
    return CliRunner().invoke(manyheads, command)


def lines(world: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (world / FILE).read_text().splitlines()]


def test_weights_and_biases_gets_what_is_written(task: Path) -> None:
    pytest.importorskip("wandb")
    result = train(task, "--log", "loggers/wandb")
    assert result.exit_code == 0, result.output
    assert "failed" not in result.output
    world = task.parent / "world"
    (file,) = (world / "wandb").glob("offline-run-*/run-*.wandb")
    until = time.monotonic() + 60
    while len(content := file.read_bytes()) < 100 and time.monotonic() < until:
        time.sleep(0.2)  # its own process writes it
    for line in lines(world):
        for name, value in line["numbers"].items():
            assert name.encode() in content
            assert format(value, "g" if value == int(value) else "").encode() in content
    assert not (world / "tensorboard").exists()


@pytest.mark.slow
def test_mlflow_gets_what_is_written(task: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    result = train(task, "--log", "loggers/mlflow", "--set", "loggers/mlflow.experiment=tests")
    assert result.exit_code == 0, result.output
    assert "failed" not in result.output
    world = task.parent / "world"
    returns = [line["numbers"]["balance/return"] for line in lines(world) if "balance/return" in line["numbers"]]
    client = mlflow.MlflowClient(f"sqlite:///{world / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    assert [each.value for each in client.get_metric_history(run.info.run_id, "balance/return")] == returns
    assert run.data.params["training.batch_size"] == "2"
    assert run.data.params["tasks"] == "['balance']"
    assert (run.info.run_name, run.info.status) == ("world", "FINISHED")


def test_wrong_names_and_options_are_refused_before_anything_is_made(task: Path) -> None:
    for arguments, message in (
        (["--log", "loggers/wandbb"], "There is no logger named 'loggers/wandbb'. Did you mean loggers/wandb"),
        (["--log", "loggers/wandb", "--set", "loggers/wandb.projct=x"], "Did you mean project?"),
        (["--log", "loggers/wandb", "--set", "loggers/wandb.mode=x"], "--set loggers/wandb.mode='x': Input should be"),
    ):
        assert message in str(train(task, *arguments).exception)
    assert not (task.parent / "world").exists()


def test_a_missing_module_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, task: Path) -> None:
    monkeypatch.setattr("manyheads.kinds.missing_modules", lambda names: [*names])
    with pytest.raises(ManyheadsError, match=r"needs wandb, not installed here\. Install with `pip install 'many"):
        raise train(task, "--log", "loggers/wandb").exception


class Fails:
    """A logger that fails at its second line."""

    def __init__(self) -> None:
        self.written: list[int] = []

    def write(self, step: int, updates: int, numbers: Any) -> None:
        if self.written:
            raise ConnectionError("the line is dead")
        self.written.append(step)

    def close(self) -> None:
        raise AssertionError("it was left out")


def test_a_logger_that_fails_is_named_once_and_the_run_continues(task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails = Fails()
    for name, opener in (("a/fails", lambda *_: fails), ("a/absent", lambda *_: 1 / 0)):
        monkeypatch.setitem(registry().loggers, name, LoggerKind(name=name, open=opener))
    result = train(task, "--log", "a/fails", "--log", "a/absent")
    assert result.exit_code == 0, result.output
    said = [line for line in result.output.splitlines() if "failed" in line]
    assert [line.split(" failed and is left out from here: ")[0] for line in said] == [
        "The logger a/absent",
        "The logger a/fails",
    ]
    assert "ZeroDivisionError: division by zero. All numbers are in metrics.jsonl." in said[0]
    assert "ConnectionError: the line is dead." in said[1]
    assert len(fails.written) == 1 < len(lines(task.parent / "world"))
