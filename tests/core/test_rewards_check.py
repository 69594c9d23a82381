"""The check that plugin authors run on their sources passes good ones and names each broken promise."""

import pytest
import torch

from manyheads.environment.contract import Signal
from manyheads.registry import registry
from manyheads.rewards.contract import Labels
from manyheads.rewards.sources import EnvironmentReward, PythonReward
from manyheads.task import load_task
from manyheads.testing import check_reward_source

ON = Signal("on", kind="boolean")
SIGNALS = (
    Signal("reward"),
    Signal("x"),
    Signal("low", low=3.0),
    Signal("high", high=-20.0),
    Signal("on", kind="boolean"),
)


class Source:
    """A source that keeps every promise; the cases below break one each."""

    reads = "signals"
    memory = "none"
    own_rows_only = False
    signals = frozenset({"x"})

    def label(self, signals, first=None):
        return PythonReward(self.function, self.signals, "test").label(signals, first)

    def function(self, signals):
        return signals["x"] / 2, signals["x"] > 1


class ReadsAnything(Source):
    signals = frozenset({"absent"})


class ClaimsReward(Source):
    signals = frozenset({"reward"})


class Writes(Source):
    def function(self, signals):
        return signals["x"].add_(1)


class Drifts(Source):
    def function(self, signals):
        return signals["x"] - signals["x"].mean()


class Infinite(Source):
    def label(self, signals, first=None):
        reward, terminated = super().label(signals, first)
        return Labels(reward / 0, terminated)


class Double(Source):
    def label(self, signals, first=None):
        reward, terminated = super().label(signals, first)
        return Labels(reward.double() if isinstance(reward, torch.Tensor) else reward, terminated)


class PaysStarts(Source):
    def label(self, signals, first=None):
        return super().label(signals, torch.zeros_like(torch.as_tensor(signals["x"]), dtype=torch.bool))


class Dice(Source):
    def function(self, signals):
        return torch.rand_like(signals["x"])


def test_good_sources_pass():
    check_reward_source(Source(), SIGNALS)
    check_reward_source(EnvironmentReward(), SIGNALS)
    check_reward_source(PythonReward(lambda s: s["low"] + s["high"] + s["on"], ["low", "high", "on"], "f"), SIGNALS)


@pytest.mark.parametrize("name", ["dmc/cartpole-park_left", "dmc/hopper-stand_spec", "dmc/walker-walk_spec"])
def test_packaged_specifications_pass(name):
    if name not in registry().tasks:
        pytest.skip("the packaged tasks are left out")
    task = load_task(name)
    check_reward_source(task.reward, task.instance.signals)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (object(), "lacks a part"),
        (ReadsAnything(), "it reads absent"),
        (ClaimsReward(), "own_rows_only must be true"),
        (Writes(), "writes into the signals"),
        (Drifts(), "changes with the rows around it"),
        (Infinite(), "not finite"),
        (Double(), "float64"),
        (PaysStarts(), "row 0 starts an episode"),
        (Dice(), "the second time"),
    ],
    ids=lambda case: type(case).__name__ if not isinstance(case, str) else "",
)
def test_a_broken_promise_is_named(source, problem):
    with pytest.raises(AssertionError, match=problem):
        check_reward_source(source, SIGNALS)
