"""Fish: a swimmer in open water; its own frame is right (x), forward (y), up (z)."""

from typing import Any

import numpy as np

from manyheads_dmc.measures import Measure, controls, cosine, derived, joint, position, rate, sensor

JOINTS = {
    "tail1": "root of the tail; positive swings it right, negative left",
    "tail_twist": "twist of the tail about the body's length",
    "tail2": "end of the tail; positive swings it right, negative left",
    "finright_roll": "right fin; positive lowers it, negative raises it",
    "finright_pitch": "pitch of the right fin",
    "finleft_roll": "left fin; positive raises it, negative lowers it",
    "finleft_pitch": "pitch of the left fin",
}


def table(task: str) -> list[Measure]:
    return [
        cosine("upright", "torso", "zz", "1 right way up, 0 on its side, -1 belly up"),
        position("torso_height", "xpos", "torso", "z", "metres of the body above the ground"),
        sensor(
            "forward_velocity",
            "velocimeter",
            "metres per second forward, nose first; negative swims backward",
            unit="m/s",
            offset=1,
        ),
        sensor(
            "sideways_velocity",
            "velocimeter",
            "metres per second to its own right; negative to its left",
            unit="m/s",
        ),
        sensor(
            "upward_velocity",
            "velocimeter",
            "metres per second to its own upper side; negative to its belly",
            unit="m/s",
            offset=2,
        ),
        sensor("pitch_velocity", "gyro", "nose turning up; negative turns down", unit="rad/s"),
        sensor("roll_velocity", "gyro", "rolling about its length", unit="rad/s", offset=1),
        sensor("yaw_velocity", "gyro", "turning left; negative turns right", unit="rad/s", offset=2),
        *(_target() if task == "swim" else []),
        *(joint(f"{name}_angle", name, description) for name, description in JOINTS.items()),
        *(rate(f"{name}_velocity", name, f"how fast {name}_angle grows") for name in JOINTS),
        *controls(
            tail="drive of both tail joints, as a share of the strongest; positive right, negative left",
            tail_twist="twist of the tail, as a share of the strongest",
            fins_flap="flap of both fins, as a share of the strongest",
            finleft_pitch="pitch of the left fin, as a share of the strongest",
            finright_pitch="pitch of the right fin, as a share of the strongest",
        ),
    ]


def _target() -> list[Measure]:
    where = (
        "to its own right; negative: left",
        "ahead; negative: behind",
        "above its back; negative: below its belly",
    )
    return [
        *(
            derived(
                f"mouth_to_target[{i}]",
                _component(i),
                f"metres from the mouth to the target, {description}",
                unit="m",
            )
            for i, description in enumerate(where)
        ),
        derived(
            "mouth_to_target_distance",
            lambda physics: float(np.linalg.norm(physics.mouth_to_target())),
            "metres from the mouth to the target",
            unit="m",
            low=0.0,
        ),
    ]


def _component(i: int) -> Any:
    return lambda physics: physics.mouth_to_target()[i]
