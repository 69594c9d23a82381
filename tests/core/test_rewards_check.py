"""The check that plugin authors run on their sources passes good ones and names each broken promise."""

import pytest
import torch

from manyheads.environment.contract import Signal
from manyheads.registry import registry
from manyheads.rewards.contract import Labels
from manyheads.rewards.sources import EnvironmentReward, PythonReward, SignalSource
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


class Source(SignalSource):
    """A source that keeps every promise; the cases below break one each."""

    own_rows_only = False

    def __init__(self):
        self.signals = type(self).names

    names = frozenset({"x"})

    def earn(self, signals):
        return signals["x"] / 2, signals["x"] > 1


class ReadsAnything(Source):
    names = frozenset({"absent"})


class ClaimsReward(Source):
    names = frozenset({"reward"})


class Writes(Source):
    def earn(self, signals):
        return signals["x"].add_(1), None


class Drifts(Source):
    def earn(self, signals):
        return signals["x"] - signals["x"].mean(), None


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
    def earn(self, signals):
        return torch.rand_like(signals["x"]), None


class Sum(Source):
    """Pays the mean of all that an episode has shown."""

    memory_size = 2

    def advance(self, signals, memory, is_first):
        memory = memory + torch.stack([signals["x"], torch.ones_like(signals["x"])], -1).float()
        return memory[:, 0] / memory[:, 1], None, memory


class Forgets(Sum):
    def unroll(self, signals, is_first, memory=None):
        return super().unroll(signals, is_first)


class Widens(Sum):
    memory_size = 3

    def init(self, n):
        return torch.zeros(n, 2)


def test_good_sources_pass():
    check_reward_source(Source(), SIGNALS)
    check_reward_source(Sum(), SIGNALS)
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
        (Forgets(), "inside an episode"),
        (Widens(), "memory must be"),
    ],
    ids=lambda case: type(case).__name__ if not isinstance(case, str) else "",
)
def test_a_broken_promise_is_named(source, problem):
    with pytest.raises(AssertionError, match=problem):
        check_reward_source(source, SIGNALS)
