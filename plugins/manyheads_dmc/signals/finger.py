"""Finger: a two-joint finger on the left, a free body, the spinner, on the right; +x is right, z is up."""

from typing import Any

import numpy as np

from manyheads_dmc.measures import Measure, derived, drives, joint, rate, sensor, turn


def table(task: str) -> list[Measure]:
    return [
        sensor(
            "hinge_velocity",
            "hinge_velocity",
            "how fast the spinner turns; positive counterclockwise, negative clockwise, 0 is still",
            unit="rad/s",
        ),
        turn(
            "hinge_angle",
            "hinge",
            "angle of the spinner, positive counterclockwise; 0 with its tip straight up",
        ),
        joint(
            "proximal_angle",
            "proximal",
            "root of the finger; 0 points right at the spinner, positive up, negative down",
            -1.92,
            1.92,
        ),
        joint(
            "distal_angle",
            "distal",
            "middle joint of the finger; 0 stretched, positive bends up, negative down",
            -1.92,
            1.92,
        ),
        rate(
            "proximal_velocity",
            "proximal",
            "turning of the finger's root; positive raises it, negative lowers it",
        ),
        rate("distal_velocity", "distal", "bending of the finger; positive up, negative down"),
        derived(
            "tip_position[0]",
            lambda physics: physics.tip_position()[0],
            "metres of the spinner's tip right of its hinge; negative is left",
            unit="m",
            low=-0.13,
            high=0.13,
        ),
        derived(
            "tip_position[1]",
            lambda physics: physics.tip_position()[1],
            "metres of the spinner's tip above its hinge; negative is below",
            unit="m",
            low=-0.13,
            high=0.13,
        ),
        sensor("top_touch", "touchtop", "newtons on the upper side of the fingertip", unit="N", low=0.0),
        sensor("bottom_touch", "touchbottom", "newtons on the lower side of the fingertip", unit="N", low=0.0),
        *(_target() if task != "spin" else []),
        *drives("proximal", "distal"),
    ]


def _target() -> list[Measure]:
    return [
        derived(
            "target_position[0]",
            lambda physics: physics.target_position()[0],
            "metres of the target right of the spinner's hinge; negative is left",
            unit="m",
            low=-0.13,
            high=0.13,
        ),
        derived(
            "target_position[1]",
            lambda physics: physics.target_position()[1],
            "metres of the target above the spinner's hinge; negative is below",
            unit="m",
            low=-0.13,
            high=0.13,
        ),
        derived(
            "tip_to_target_distance",
            _distance,
            "metres from the spinner's tip to the middle of the target",
            unit="m",
            low=0.0,
            high=0.26,
        ),
    ]


def _distance(physics: Any) -> float:
    return float(np.linalg.norm(physics.to_target()))
