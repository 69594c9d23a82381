"""Signals: what is declared is what `info["signals"]` holds, and every departure is named."""

import math

import gymnasium
import numpy as np
import pytest
from pydantic import Field

from manyheads.environment.contract import Environment, Options, Signal
from manyheads.errors import ManyheadsError

HEIGHT = Signal("height", "m", low=0.0, description="metres above the ground")
SPEED = Signal("speed", "m/s", description="metres per second upward")


class Balloon(gymnasium.Env):
    """Rises by its action; measures itself."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)

    def __init__(self, **wrong):
        self.wrong = wrong

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.height, self.speed = 0.0, 0.0
        return self._row()

    def step(self, action):
        self.speed = float(action[0])
        self.height += self.speed
        observation, info = self._row()
        return observation, 2.0 * self.speed, False, self.height > 3, info

    def _row(self):
        signals = {"speed": self.speed, "height": self.height, **self.wrong}
        signals = {name: value for name, value in signals.items() if value is not ...}
        return np.array([self.height], np.float32), {"signals": signals, "extra": 7}


def environment(**wrong):
    return Environment("toy/balloon", lambda options: Balloon(**wrong), signals=(HEIGHT, SPEED))


def test_signals_come_in_catalogue_order_with_the_reward_first():
    instance = environment().instance()
    env = instance.make()
    _, info = env.reset(seed=0)
    assert list(info["signals"].items()) == [("reward", 0.0), ("height", 0.0), ("speed", 0.0)]
    _, reward, terminated, truncated, info = env.step(np.array([0.5]))
    assert list(info["signals"].items()) == [("reward", 1.0), ("height", 0.5), ("speed", 0.5)]
    assert (reward, terminated, truncated, info["extra"]) == (1.0, False, False, 7)
    assert [signal.name for signal in instance.signals] == list(info["signals"])
    assert isinstance(env.unwrapped, Balloon)


def test_a_measure_function_reads_the_environment_and_the_observation():
    def measure(env, observation):
        return {"height": observation[0], "speed": env.unwrapped.speed}

    env = Environment("toy/balloon", lambda options: Balloon(), (HEIGHT, SPEED), measure).instance().make()
    env.reset()
    assert env.step(np.array([1.0]))[-1]["signals"] == {"reward": 2.0, "height": 1.0, "speed": 1.0}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"height": ...}, "toy/balloon declares the signal 'height' but did not measure it"),
        ({"hieght": 1.0}, r"no declared signal of toy/balloon named 'hieght'. Did you mean height\?"),
        ({"height": math.nan}, "toy/balloon .*signal 'height' is nan"),
        ({"height": math.inf}, "signal 'height' is inf"),
        ({"height": [1.0, 2.0]}, r"signal 'height' is \[1.0, 2.0\]; a signal is one number"),
    ],
)
def test_wrong_signals_are_named(wrong, message):
    with pytest.raises(ManyheadsError, match=message):
        environment(**wrong).instance().make().reset()


def test_a_signal_may_not_be_declared_twice():
    with pytest.raises(ManyheadsError, match="declares signal 'height' twice"):
        Environment("toy/balloon", lambda options: Balloon(), signals=(HEIGHT, HEIGHT))
    later = Environment("toy/balloon", lambda options: Balloon(), signals=lambda options: [HEIGHT, HEIGHT])
    with pytest.raises(ManyheadsError, match="declares signal 'height' twice"):
        _ = later.instance().signals


def test_missing_modules_are_named_with_what_installs_them():
    needs = Environment("toy/far", lambda options: None, requires=("no_such_module",), extra="far")
    with pytest.raises(ManyheadsError, match=r"toy/far needs no_such_module.*pip install 'manyheads\[far\]'"):
        needs.instance().make()


class Wind(Options):
    strength: int = Field(default=1, ge=0)
    start: str = "ground"


def test_options_are_checked_and_keys_are_canonical():
    windy = Environment("toy/wind", lambda options: Balloon(), options=Wind, reset_only_options=frozenset({"start"}))
    assert windy.instance().key == 'toy/wind {"start": "ground", "strength": 1}'
    assert windy.instance({"start": "sky"}).key != windy.instance().key
    assert windy.instance({"start": "sky"}).dynamics_key == windy.instance().dynamics_key
    assert windy.instance({"strength": 2}).dynamics_key != windy.instance().dynamics_key
    with pytest.raises(ManyheadsError, match="Did you mean strength"):
        windy.instance({"strenght": 2})
    with pytest.raises(ManyheadsError, match="toy/wind: option strength=-1: "):
        windy.instance({"strength": -1})


def test_what_only_changes_starts_may_depend_on_other_options():
    def reset_only(options):
        return frozenset({"start"}) if options.strength == 0 else frozenset()

    windy = Environment("toy/wind", lambda options: Balloon(), options=Wind, reset_only_options=reset_only)
    calm, storm = ({"start": "sky", "strength": strength} for strength in (0, 5))
    assert windy.instance(calm).dynamics_key == 'toy/wind {"strength": 0}'
    assert windy.instance(storm).dynamics_key == windy.instance(storm).key
