"""Ball in cup: a cup on springs, a ball on a string from it; +x is right as the camera sees it, z is up."""

from typing import Any

import numpy as np

from manyheads_dmc.measures import Measure, controls, derived, position, rate


def table(task: str) -> list[Measure]:
    return [
        position("cup_position", "xpos", "cup", "x", "metres of the cup right of the middle; negative is left"),
        position("cup_height", "xpos", "cup", "z", "metres of the cup's rim above the floor; it rests at about 0.6"),
        position("ball_position", "xpos", "ball", "x", "metres of the ball right of the middle; negative is left"),
        position("ball_height", "xpos", "ball", "z", "metres of the ball above the floor; higher is up"),
        rate("cup_velocity[0]", "cup_x", "the cup's speed to the right; negative moves left", unit="m/s"),
        rate("cup_velocity[1]", "cup_z", "the cup's speed upward; negative moves down", unit="m/s"),
        rate("ball_velocity[0]", "ball_x", "the ball's speed to the right; negative moves left", unit="m/s"),
        rate("ball_velocity[1]", "ball_z", "the ball's speed upward; negative moves down", unit="m/s"),
        derived(
            "ball_to_cup[0]",
            lambda physics: physics.ball_to_target()[0],
            "metres from the ball to the inside of the cup, to the right; negative: the cup is to the left",
            unit="m",
        ),
        derived(
            "ball_to_cup[1]",
            lambda physics: physics.ball_to_target()[1],
            "metres from the ball to the inside of the cup, upward; negative: the ball is above the cup",
            unit="m",
        ),
        derived(
            "ball_to_cup_distance",
            _distance,
            "metres from the ball to the middle of the cup's inside",
            unit="m",
            low=0.0,
        ),
        derived(
            "in_target",
            lambda physics: physics.in_target(),
            "1 if the ball is in the cup, else 0",
            kind="boolean",
            low=0.0,
            high=1.0,
        ),
        *controls(
            x="push on the cup, as a share of the strongest; positive right, negative left",
            z="push on the cup, as a share of the strongest; positive up, negative down",
        ),
    ]


def _distance(physics: Any) -> float:
    return float(np.linalg.norm(physics.ball_to_target()))
