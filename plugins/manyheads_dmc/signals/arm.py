"""The planar arm with a two-fingered hand that manipulator and stacker share; +x is right, z is up."""

from collections.abc import Callable
from typing import Any

from manyheads_dmc.measures import Measure, derived, drives, joint, position, rate, sensor, turn

JOINTS = {
    "arm_shoulder": (
        -2.793,
        2.793,
        "second joint of the arm; 0 stretched, positive bends left, negative right",
    ),
    "arm_elbow": (-2.793, 2.793, "third joint of the arm; 0 stretched, positive bends left, negative right"),
    "arm_wrist": (-2.443, 2.443, "wrist; 0 stretched, positive bends left, negative right"),
    "thumb": (-0.175, 1.047, "thumb; greater closes the hand"),
    "finger": (-0.175, 1.047, "finger; greater closes the hand"),
}
TOUCHES = ("palm", "finger", "thumb", "fingertip", "thumbtip")


def arm() -> list[Measure]:
    """Measures of the arm and the hand, without the controls."""
    return [
        position(
            "hand_position",
            "site_xpos",
            "grasp",
            "x",
            "metres of the hand's grip right of the arm's foot; negative is left",
        ),
        position("hand_height", "site_xpos", "grasp", "z", "metres of the hand's grip above the floor"),
        turn(
            "arm_root_angle",
            "arm_root",
            "first joint of the arm; 0 straight up, positive leans left, negative right",
        ),
        *(joint(f"{name}_angle", name, description, low, high) for name, (low, high, description) in JOINTS.items()),
        *(rate(f"{name}_velocity", name, f"how fast {name}_angle grows") for name in ("arm_root", *JOINTS)),
        *(sensor(f"{part}_touch", f"{part}_touch", f"newtons on the {part}", unit="N", low=0.0) for part in TOUCHES),
    ]


def motors() -> list[Measure]:
    """The controls of the arm and the hand."""
    return drives("root", "shoulder", "elbow", "wrist", "grasp")


def distance(name: str, one: str, other: str, description: str) -> Measure:
    """The distance between two sites."""
    return derived(name, _site_distance(one, other), description, unit="m", low=0.0)


def _site_distance(one: str, other: str) -> Callable[[Any], float]:
    return lambda physics: float(physics.site_distance(one, other))
