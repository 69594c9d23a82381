"""Humanoid: a person-like body facing +x at the start; z is up, its own left is +y."""

from typing import Any

import numpy as np

from manyheads_dmc.measures import Measure, cosine, derived, drives, joint, position, sensor

JOINTS = {
    "abdomen_y": (-1.309, 0.524, "waist; negative bends forward, positive backward"),
    "abdomen_z": (-0.785, 0.785, "waist; twist about the upright axis"),
    "abdomen_x": (-0.611, 0.611, "waist; bend to the side"),
    "right_hip_x": (-0.436, 0.087, "right hip; negative spreads the leg out to the right"),
    "right_hip_z": (-1.047, 0.611, "right hip; turn of the leg about its length"),
    "right_hip_y": (-1.92, 0.349, "right hip; negative swings the leg forward, positive backward"),
    "right_knee": (-2.793, 0.035, "right knee; 0 stretched, negative bends it"),
    "right_ankle_x": (-0.873, 0.873, "right ankle; tilt to the side"),
    "right_ankle_y": (-0.873, 0.873, "right ankle; positive points the toes down"),
    "left_hip_x": (-0.436, 0.087, "left hip; negative spreads the leg out to the left"),
    "left_hip_z": (-1.047, 0.611, "left hip; turn of the leg about its length"),
    "left_hip_y": (-2.094, 0.349, "left hip; negative swings the leg forward, positive backward"),
    "left_knee": (-2.793, 0.035, "left knee; 0 stretched, negative bends it"),
    "left_ankle_x": (-0.873, 0.873, "left ankle; tilt to the side"),
    "left_ankle_y": (-0.873, 0.873, "left ankle; positive points the toes down"),
    "right_shoulder1": (-1.484, 1.047, "right shoulder; first axis"),
    "right_shoulder2": (-1.484, 1.047, "right shoulder; second axis"),
    "right_elbow": (-1.571, 0.873, "right elbow; bend of the arm"),
    "left_shoulder1": (-1.047, 1.484, "left shoulder; first axis"),
    "left_shoulder2": (-1.047, 1.484, "left shoulder; second axis"),
    "left_elbow": (-1.571, 0.873, "left elbow; bend of the arm"),
}
"""joints in the order of the actuators"""


def table(task: str) -> list[Measure]:
    ends = [f"{side}_{end}" for side in ("left", "right") for end in ("hand", "foot")]
    return [
        position("head_height", "xpos", "head", "z", "metres of the head above the floor; more than 1.4 stands"),
        cosine("torso_upright", "torso", "zz", "1 torso straight up, 0 lying, -1 head down"),
        position("torso_height", "xpos", "torso", "z", "metres of the torso above the floor"),
        sensor(
            "center_of_mass_velocity[0]",
            "torso_subtreelinvel",
            "metres per second of the body along the world's x",
            unit="m/s",
        ),
        sensor(
            "center_of_mass_velocity[1]",
            "torso_subtreelinvel",
            "metres per second of the body along the world's y",
            unit="m/s",
            offset=1,
        ),
        sensor(
            "center_of_mass_velocity[2]",
            "torso_subtreelinvel",
            "metres per second upward of the body; negative falls",
            unit="m/s",
            offset=2,
        ),
        derived(
            "horizontal_speed",
            horizontal_speed,
            "metres per second over the ground, in whatever direction",
            unit="m/s",
            low=0.0,
        ),
        sensor(
            "forward_velocity",
            "torso_vel",
            "metres per second the way the torso faces; negative goes backward",
            unit="m/s",
        ),
        sensor(
            "turning_velocity",
            "torso_gyro",
            "turning about its own upright axis; positive left, negative right",
            unit="rad/s",
            offset=2,
        ),
        *(
            position(f"{end}_height", "xpos", end, "z", f"metres of the {end.replace('_', ' ')} above the floor")
            for end in ends
        ),
        *(joint(f"{name}_angle", name, description, low, high) for name, (low, high, description) in JOINTS.items()),
        *drives(*JOINTS),
    ]


def horizontal_speed(physics: Any) -> float:
    """Speed of the centre of mass over the ground, as the suite's reward takes it."""
    return float(np.linalg.norm(physics.center_of_mass_velocity()[[0, 1]]))
