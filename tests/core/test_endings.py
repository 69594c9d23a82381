"""Whatever ends a run, what was learned until then is saved, unless an update had begun and did not end."""

import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from test_trainer import TASKS, TINY, run, same, weights

from manyheads import ManyheadsError, SignalSource
from manyheads.cli import manyheads
from manyheads.errors import ForeignError
from manyheads.experience.collector import Collector
from manyheads.learning.learner import Learner
from manyheads.report.metrics import Metrics
from manyheads.storage.world_folder import WorldFolder
from manyheads.trust import allow_module

allow_module(__name__)
FOR_EVER = [*TINY, "--set=training.checkpoint_minutes=60"]
"""so that no checkpoint comes by time"""
calls = 0


def pay_for_a_while(signals: dict[str, torch.Tensor]) -> torch.Tensor:
    """Fails at its 12th call."""
    global calls
    calls += 1
    if calls == 12:
        raise RuntimeError("out of money")
    return signals["pole_angle"].cos()


@pytest.fixture
def paid(tmp_path: Path) -> Path:
    """A task whose reward fails in the midst of training, once."""
    global calls
    calls = 0
    task = tmp_path / "paid.yaml"
    task.write_text(
        f"version: 1\nenvironment: dmc/cartpole\nreward: {{source: python, function: '{__name__}:pay_for_a_while', "
        "signals: [pole_angle]}\nepisode_steps: 50\n"
    )
    return task


def test_a_reward_that_fails_ends_the_run_with_what_was_learned(paid: Path, tmp_path: Path) -> None:
    """The failed update is made when the same command continues."""
    world = tmp_path / "world"
    message = r"The reward of paid on dmc/cartpole .*stream \d+ rows \d+ to .*: .*RuntimeError: out of money"
    with pytest.raises(ForeignError, match=message):
        run("train", world, paid, *FOR_EVER, "--steps", 160)
    saved = WorldFolder.open(world).checkpoint.state["runs"]["train"]
    assert saved["updates"] >= 8
    assert saved["update_credit"] >= 1
    run("train", world, "--steps", 160)
    assert WorldFolder.open(world).checkpoint.state["runs"]["train"]["updates"] == 16


class Failing(SignalSource):
    def earn(self, signals: Any) -> Any:
        raise RuntimeError("no such episode")


def test_a_source_that_fails_over_an_episode_is_named() -> None:
    with pytest.raises(ForeignError, match="Failing raised RuntimeError: no such episode"):
        Failing({"angle"}).label({"angle": torch.zeros(3)})


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(0), GeneratorExit(), ValueError("a bug")])
@pytest.mark.parametrize("where", ["collecting", "metrics"])
def test_what_is_no_error_ends_the_run_with_what_was_learned(
    error: BaseException, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner: Any = Collector if where == "collecting" else Metrics
    name = "collect" if where == "collecting" else "write"
    plain, left = getattr(owner, name), iter(range(40 if where == "collecting" else 1))

    def ends(*arguments: Any) -> Any:
        if next(left, None) is None:
            raise error
        return plain(*arguments)

    world, task = tmp_path / "world", tmp_path / "short.yaml"
    task.write_text("version: 1\nenvironment: dmc/cartpole\nreward: {source: environment}\nepisode_steps: 30\n")
    monkeypatch.setattr(owner, name, ends)
    with suppress(GeneratorExit):
        CliRunner().invoke(manyheads, ["train", str(world), str(task), *FOR_EVER, "--steps", "400"])
    monkeypatch.undo()
    assert 0 < WorldFolder.open(world).checkpoint.state["runs"]["train"]["updates"] < 30
    run("train", world, "--steps", 410)


def test_an_update_that_did_not_end_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = tmp_path / "world"
    run("train", world, TASKS[0], *FOR_EVER, "--steps", 60)
    before, update = weights(world), Learner.update

    def half(self: Learner, *arguments: Any) -> Any:
        update(self, *arguments)
        raise ManyheadsError("between two optimisers")

    monkeypatch.setattr(Learner, "update", half)
    with pytest.raises(ManyheadsError, match="between two optimisers"):
        run("train", world, "--steps", 100)
    assert same(before, weights(world))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_an_environment_took_over_still_saves(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect, calls = Collector.collect, iter(range(40))

    def taken(self: Collector, act: Any) -> Any:
        at = next(calls, 40)
        if at == 20:
            signal.signal(number, signal.SIG_IGN)  # as a simulator's window or node may do
        if at == 30:
            signal.raise_signal(number)
        return collect(self, act)

    monkeypatch.setattr(Collector, "collect", taken)
    said = run("train", tmp_path / "world", TASKS[0], *FOR_EVER, "--steps", 400, code=1)
    assert "Stopped and saved at 62 steps" in said
