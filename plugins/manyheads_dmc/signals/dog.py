"""Dog: a dog with a spine, tail and jaw; its own frame is forward (x), left (y), up (z)."""

from typing import Any

from manyheads_dmc.measures import Measure, cosine, derived, drives, position, sensor

ACTUATORS = [
    "lumbar_extend",
    "lumbar_bend",
    "lumbar_twist",
    "cervical_extend",
    "cervical_bend",
    "cervical_twist",
    "caudal_extend",
    "caudal_bend",
    "hip_L_supinate",
    "hip_L_abduct",
    "hip_L_extend",
    "knee_L",
    "ankle_L",
    "toe_L",
    "hip_R_supinate",
    "hip_R_abduct",
    "hip_R_extend",
    "knee_R",
    "ankle_R",
    "toe_R",
    "atlas",
    "mandible",
    "scapula_L_supinate",
    "scapula_L_abduct",
    "scapula_L_extend",
    "shoulder_L_supinate",
    "shoulder_L_extend",
    "elbow_L",
    "wrist_L",
    "finger_L",
    "scapula_R_supinate",
    "scapula_R_abduct",
    "scapula_R_extend",
    "shoulder_R_supinate",
    "shoulder_R_extend",
    "elbow_R",
    "wrist_R",
    "finger_R",
]
PAWS = {"palm_L": "left front", "palm_R": "right front", "sole_L": "left hind", "sole_R": "right hind"}


def table(task: str) -> list[Measure]:
    return [
        position("torso_height", "xpos", "torso", "z", "metres of the chest above the floor"),
        position("pelvis_height", "xpos", "pelvis", "z", "metres of the pelvis above the floor; low when it sits"),
        position("head_height", "site_xpos", "head", "z", "metres of the head above the floor"),
        cosine("head_upright", "skull", "zz", "1 head level, -1 upside down"),
        cosine("torso_upright", "torso", "zz", "1 chest right way up, 0 on its side, -1 on its back"),
        cosine("pelvis_upright", "pelvis", "zz", "1 pelvis right way up, 0 on its side, -1 on its back"),
        derived("forward_velocity", _velocity(0), "metres per second forward; negative walks backward", unit="m/s"),
        derived(
            "sideways_velocity",
            _velocity(1),
            "metres per second to its own left; negative to its right",
            unit="m/s",
        ),
        derived(
            "upward_velocity",
            _velocity(2),
            "metres per second to its own upper side; negative down",
            unit="m/s",
        ),
        sensor("turning_velocity", "gyro", "turning left; negative turns right", unit="rad/s", offset=2),
        *(
            sensor(
                f"{where.replace(' ', '_')}_paw_touch",
                of,
                f"newtons with which the {where} paw presses on the ground",
                unit="N",
                low=0.0,
            )
            for of, where in PAWS.items()
        ),
        *(_fetch() if task == "fetch" else []),
        *drives(*ACTUATORS),
    ]


def _velocity(i: int) -> Any:
    return lambda physics: physics.torso_com_velocity()[i]


def _fetch() -> list[Measure]:
    return [
        derived(
            "ball_to_mouth_distance",
            lambda physics: physics.ball_to_mouth_distance(),
            "metres from the ball to the mouth",
            unit="m",
            low=0.0,
        ),
        derived(
            "ball_to_target_distance",
            lambda physics: physics.ball_to_target_distance(),
            "metres from the ball to the target",
            unit="m",
            low=0.0,
        ),
        position("ball_height", "geom_xpos", "ball", "z", "metres of the ball above the floor"),
    ]
