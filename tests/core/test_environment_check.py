"""`check_environment` accepts an honest environment and names each broken promise."""

import sys

import gymnasium
import numpy as np
import pytest

from manyheads.environment.contract import Environment, Signal
from manyheads.testing import check_environment

SIGNALS = (
    Signal("place", "m", low=-1.0, high=1.0, description="metres right of the middle", soft=True),
    Signal("moving", "1", "boolean", 0.0, 1.0, description="1 while it moves"),
    Signal("control[0]", "1", low=-1.0, high=1.0, description="push to the right"),
)


class Slider(gymnasium.Env):
    """An honest simulator: a block pushed along a line, with a random start and a random wind."""

    observation_space = gymnasium.spaces.Box(-2.0, 2.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.push, self.steps = self.np_random.uniform(-0.5, 0.5), 0.0, 0
        return self.see(), {"signals": self.signals()}

    def step(self, action):
        self.push, self.steps = float(action[0]), self.steps + 1
        self.place = float(np.clip(self.place + 0.1 * self.push + 0.01 * self.np_random.normal(), -1.2, 1.2))
        return self.see(), -abs(self.place), False, self.steps == 30, {"signals": self.signals()}

    def see(self):
        return np.array([self.place, self.push], np.float32)

    def signals(self):
        return {"place": self.place, "moving": float(self.push != 0), "control[0]": self.push}


class Unseeded(Slider):
    def reset(self, *, seed=None, options=None):
        return super().reset()


class CarriesOver(Slider):
    """Keeps something from one episode to the next."""

    worn = 0.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.worn += 0.1
        self.place += self.worn
        return self.see(), {"signals": self.signals()}


class OutsideItsSpace(Slider):
    def see(self):
        return super().see() + 5


class AnotherShape(Slider):
    def see(self):
        return np.zeros(3, np.float32)


class Exits(Slider):
    def step(self, action):
        sys.exit("no licence")


class OldApi(Slider):
    def step(self, action):
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, info


class Late(Slider):
    """Shows each observation one row late."""

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed)
        self.shown = observation
        return observation, info

    def step(self, action):
        observation, *rest = super().step(action)
        self.shown, shown = observation, self.shown
        return (shown, *rest)


class Overwrites(Slider):
    """Gives the same array each time, new numbers in it."""

    def __init__(self):
        self.buffer = np.zeros((32, 32), np.uint8)
        self.observation_space = gymnasium.spaces.Box(0, 255, (32, 32), np.uint8)

    def see(self):
        self.buffer[:] = 100 + 50 * self.place
        return self.buffer


class ControlOfTheNextRow(Slider):
    def signals(self):
        control, self.before = getattr(self, "before", 0.0), self.push
        return {**super().signals(), "control[0]": control}


class FarOut(Slider):
    def signals(self):
        return {**super().signals(), "place": 3.0}


class HalfTrue(Slider):
    def signals(self):
        return {**super().signals(), "moving": 0.5}


def instance(simulator, signals=SIGNALS):
    return Environment("toy/slider", lambda options: simulator(), signals=signals).instance()


def test_an_honest_environment_passes():
    check_environment(instance(Slider))


@pytest.mark.parametrize(
    ("simulator", "message"),
    [
        (Unseeded, "row 0 differs in a fresh environment under one seed"),
        (CarriesOver, "row 0 differs .* under one seed"),
        (OutsideItsSpace, "observation lies outside its space"),
        (AnotherShape, r"toy/slider: the observation 'observation' is .* expected the shape \(2,\), not \(3,\)"),
        (Exits, r"toy/slider: step 1 failed: it called sys.exit\('no licence'\)"),
        (OldApi, r"toy/slider: step 1 returned 4 values; Gymnasium's reset returns"),
        (Late, "observations come one row late"),
        (Overwrites, "a step writes into the observation before it"),
        (ControlOfTheNextRow, r"control\[0\] is .* it holds the input that led to its row"),
        (FarOut, r"signal 'place' is 3.0, outside \[-1.0, 1.0\]"),
        (HalfTrue, "signal 'moving' is 0.5, but its kind is boolean"),
    ],
)
def test_a_broken_promise_is_named(simulator, message):
    with pytest.raises(AssertionError, match=message):
        check_environment(instance(simulator))


def test_a_signal_says_what_it_measures():
    with pytest.raises(AssertionError, match="signal 'place' has no sentence"):
        check_environment(instance(Slider, (Signal("place", "m"), *SIGNALS[1:])))
