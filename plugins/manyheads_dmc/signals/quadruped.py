"""Quadruped: a four-legged walker; its own frame is forward (x), left (y), up (z)."""

from itertools import product

from manyheads_dmc.measures import Measure, control, cosine, derived, joint, position, sensor

LEGS = ("front_left", "front_right", "back_right", "back_left")
LIMITS = {
    "yaw": (-0.873, 0.873, "turn about the upright axis, positive counterclockwise from above"),
    "pitch": (-0.349, 1.047, "positive lowers the leg, negative raises it"),
    "knee": (-1.047, 0.873, "positive bends the leg in under the body"),
    "ankle": (-0.785, 0.96, "positive bends the toe in under the body"),
}
DRIVES = (("yaw", -1.0, 1.0), ("lift", -1.0, 1.1), ("extend", -0.8, 0.8))


def table(task: str) -> list[Measure]:
    own = {"escape": _escape, "fetch": _fetch}.get(task, list)
    return [
        cosine("torso_upright", "torso", "zz", "1 right way up, 0 on its side, -1 upside down"),
        position("torso_height", "xpos", "torso", "z", "metres of the torso above the level of the floor"),
        sensor(
            "forward_velocity",
            "velocimeter",
            "metres per second forward; negative walks backward",
            unit="m/s",
        ),
        sensor(
            "sideways_velocity",
            "velocimeter",
            "metres per second to its own left; negative to its right",
            unit="m/s",
            offset=1,
        ),
        sensor(
            "upward_velocity",
            "velocimeter",
            "metres per second to its own upper side; negative down",
            unit="m/s",
            offset=2,
        ),
        sensor("roll_velocity", "imu_gyro", "rolling to its right; negative to its left", unit="rad/s"),
        sensor("pitch_velocity", "imu_gyro", "nose turning down; negative turns up", unit="rad/s", offset=1),
        sensor("turning_velocity", "imu_gyro", "turning left; negative turns right", unit="rad/s", offset=2),
        *own(),
        *(
            position(
                f"toe_height_{leg}",
                "xpos",
                f"toe_{leg}",
                "z",
                f"metres of the {leg.replace('_', ' ')} toe above the floor's level",
            )
            for leg in LEGS
        ),
        *(
            joint(f"{name}_{leg}", f"{name}_{leg}", f"{leg.replace('_', ' ')} leg, {name}: {description}", low, high)
            for leg in LEGS
            for name, (low, high, description) in LIMITS.items()
        ),
        *(
            control(number, f"{drive}_{leg}", f"wanted {drive} of the {leg.replace('_', ' ')} leg", low, high)
            for number, (leg, (drive, low, high)) in enumerate(product(LEGS, DRIVES))
        ),
    ]


def _escape() -> list[Measure]:
    return [
        derived(
            "origin_distance",
            lambda physics: float(physics.origin_distance()),
            "metres from the middle of the bowl that it starts in",
            unit="m",
            low=0.0,
        ),
    ]


def _fetch() -> list[Measure]:
    return [
        derived(
            "self_to_ball_distance",
            lambda physics: physics.self_to_ball_distance(),
            "metres over the ground from its front to the ball",
            unit="m",
            low=0.0,
        ),
        derived(
            "ball_to_target_distance",
            lambda physics: physics.ball_to_target_distance(),
            "metres over the ground from the ball to the target",
            unit="m",
            low=0.0,
        ),
        position("ball_height", "xpos", "ball", "z", "metres of the ball above the floor"),
    ]
