"""Names for what classic control measures: the signals of each id, and how they are read from its state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, cos, pi, sin
from typing import Any

from manyheads.environment.contract import Signal


@dataclass(frozen=True)
class Overlay:
    """Signals of one id and `read(env, observation)`, which gives a value for each of them.

    `env` is the environment from `simulator.build`: its `.unwrapped` is the simulator, its `.control` the
    clipped input that led to the present row (zeros at reset).
    """

    signals: tuple[Signal, ...]
    read: Callable[[Any, Any], Mapping[str, float]]


def wrapped(angle: float) -> float:
    """An angle in (-pi, pi]."""
    return angle - 2 * pi * ceil((angle - pi) / (2 * pi))


def _cartpole(env: Any, observation: Any) -> dict[str, float]:
    position, velocity, angle, turning = env.unwrapped.state
    return {
        "cart_position": position,
        "cart_velocity": velocity,
        "pole_angle": angle,
        "pole_angle_cosine": cos(angle),
        "pole_angular_velocity": turning,
    }


CARTPOLE = Overlay(
    (
        Signal(
            "cart_position",
            "m",
            low=-2.4,
            high=2.4,
            description="metres right of the middle of the track; negative is left; the episode ends beyond 2.4",
            soft=True,
        ),
        Signal("cart_velocity", "m/s", description="metres per second to the right; negative moves left"),
        Signal(
            "pole_angle",
            "rad",
            low=-0.2095,
            high=0.2095,
            description="from upright; positive leans right, negative left; the episode ends beyond 12 degrees",
            soft=True,
        ),
        Signal("pole_angle_cosine", low=-1.0, high=1.0, description="how upright the pole is: 1 straight up, 0 level"),
        Signal(
            "pole_angular_velocity", "rad/s", description="turning of the pole; positive to the right, negative left"
        ),
    ),
    _cartpole,
)


def _mountain_car(env: Any, observation: Any) -> dict[str, float]:
    position, velocity = (float(value) for value in env.unwrapped.state)
    return {
        "car_position": position,
        "car_velocity": velocity,
        "car_height": 0.45 * sin(3 * position) + 0.55,
    }


MOUNTAIN_CAR = (
    Signal(
        "car_position",
        "m",
        low=-1.2,
        high=0.6,
        description="place in the valley, greater is right; its bottom is at -0.52, the flag on the right at 0.5",
    ),
    Signal(
        "car_velocity",
        low=-0.07,
        high=0.07,
        description="change of place in a step; positive drives right, negative left, 0 is still",
    ),
    Signal("car_height", "m", low=0.1, high=1.0, description="height on the hills; 0.1 at the bottom, 1 at the top"),
)


def _mountain_car_continuous(env: Any, observation: Any) -> dict[str, float]:
    return {**_mountain_car(env, observation), "control[0]": env.control[0]}


def _pendulum(env: Any, observation: Any) -> dict[str, float]:
    angle, turning = (float(value) for value in env.unwrapped.state)
    return {
        "pole_angle": wrapped(angle),
        "pole_angle_cosine": cos(angle),
        "pole_angular_velocity": turning,
        "control[0]": env.control[0],
    }


PENDULUM = Overlay(
    (
        Signal(
            "pole_angle",
            "rad",
            "angle",
            -pi,
            pi,
            "angle from upright; positive leans left (counterclockwise), negative right, pi hangs down",
        ),
        Signal(
            "pole_angle_cosine",
            low=-1.0,
            high=1.0,
            description="how upright the pole is: 1 straight up, 0 level, -1 hanging straight down",
        ),
        Signal(
            "pole_angular_velocity",
            "rad/s",
            low=-8.0,
            high=8.0,
            description="turning of the pole; positive to the left (counterclockwise), negative to the right",
        ),
        Signal(
            "control[0]",
            low=-1.0,
            high=1.0,
            description="torque, as a share of the strongest; positive to the left, negative to the right",
        ),
    ),
    _pendulum,
)


def _acrobot(env: Any, observation: Any) -> dict[str, float]:
    upper, bend, upper_velocity, bend_velocity = (float(value) for value in env.unwrapped.state)
    return {
        "upper_arm_angle": wrapped(upper),
        "elbow_angle": wrapped(bend),
        "upper_arm_velocity": upper_velocity,
        "elbow_velocity": bend_velocity,
        "tip_height": -cos(upper) - cos(upper + bend),
        "tip_position": sin(upper) + sin(upper + bend),
    }


ACROBOT = Overlay(
    (
        Signal(
            "upper_arm_angle",
            "rad",
            "angle",
            -pi,
            pi,
            "angle of the upper arm from hanging down; positive swings right, negative left, pi is upright",
        ),
        Signal(
            "elbow_angle",
            "rad",
            "angle",
            -pi,
            pi,
            "bend of the lower arm against the upper; 0 stretched, positive bends it right, negative left",
        ),
        Signal(
            "upper_arm_velocity",
            "rad/s",
            low=-4 * pi,
            high=4 * pi,
            description="swinging of the upper arm; positive to the right, negative to the left",
        ),
        Signal("elbow_velocity", "rad/s", low=-9 * pi, high=9 * pi, description="how fast elbow_angle grows"),
        Signal(
            "tip_height",
            "m",
            low=-2.0,
            high=2.0,
            description="metres of the tip above the shoulder; -2 hanging down; the episode ends above 1",
        ),
        Signal(
            "tip_position",
            "m",
            low=-2.0,
            high=2.0,
            description="metres of the tip right of the shoulder; negative is left",
        ),
    ),
    _acrobot,
)

OVERLAYS: dict[str, Overlay] = {
    "CartPole-v0": CARTPOLE,
    "CartPole-v1": CARTPOLE,
    "MountainCar-v0": Overlay(MOUNTAIN_CAR, _mountain_car),
    "MountainCarContinuous-v0": Overlay(
        (
            *MOUNTAIN_CAR,
            Signal(
                "control[0]",
                low=-1.0,
                high=1.0,
                description="push of the motor, as a share of the strongest; positive right, negative left",
            ),
        ),
        _mountain_car_continuous,
    ),
    "Pendulum-v1": PENDULUM,
    "Acrobot-v1": ACROBOT,
}
