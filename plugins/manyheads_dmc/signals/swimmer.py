"""Swimmer: a chain of links in a plane, seen from above; the head leads, its nose along its own -y axis."""

from typing import Any

from manyheads_dmc.measures import Measure, derived, drives, joint, rate, sensor

JOINTS = {"swimmer6": (5, 1.047), "swimmer15": (14, 0.419)}


def table(task: str) -> list[Measure]:
    joints, limit = JOINTS[task]
    return [
        derived(
            "nose_to_target_distance",
            lambda physics: physics.nose_to_target_dist(),
            "metres from the nose to the target",
            unit="m",
            low=0.0,
        ),
        derived(
            "nose_to_target[0]",
            _to_target(0),
            "metres from the nose to the target, across the head; positive on its left",
            unit="m",
        ),
        derived(
            "nose_to_target[1]",
            _to_target(1),
            "metres from the nose to the target, along the head; negative is ahead",
            unit="m",
        ),
        sensor(
            "head_velocity[0]", "head_vel", "metres per second of the head, sideways; positive to its left", unit="m/s"
        ),
        sensor(
            "head_velocity[1]",
            "head_vel",
            "metres per second of the head; negative swims forward, nose first",
            unit="m/s",
            offset=1,
        ),
        sensor(
            "head_turning",
            "head_gyro",
            "turning of the head; positive counterclockwise from above",
            unit="rad/s",
            offset=2,
        ),
        *(
            joint(
                f"joint_angle[{i}]",
                f"joint_{i}",
                f"bend of joint {i + 1} behind the head; 0 straight, positive counterclockwise",
                -limit,
                limit,
            )
            for i in range(joints)
        ),
        *(rate(f"joint_velocity[{i}]", f"joint_{i}", f"how fast joint_angle[{i}] grows") for i in range(joints)),
        *drives(*(f"motor_{i}" for i in range(joints))),
    ]


def _to_target(i: int) -> Any:
    return lambda physics: physics.nose_to_target()[i]
