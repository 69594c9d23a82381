"""Hopper: a one-legged jumper in the x-z plane, nose towards +x (forward)."""

from manyheads_dmc.measures import Measure, cosine, derived, drives, joint, position, rate, sensor, turn

JOINTS = {
    "waist": (-0.524, 0.524, "positive swings the leg backward under the torso, negative forward"),
    "hip": (-2.967, 0.175, "0 with the thigh straight down, negative swings it forward and up"),
    "knee": (0.087, 2.618, "0 with the leg stretched, positive bends the knee"),
    "ankle": (-0.785, 0.785, "positive points the toe down, negative lifts it"),
}


def table(task: str) -> list[Measure]:
    return [
        derived(
            "height",
            lambda physics: physics.height(),
            "metres of the torso above the foot; more than 0.6 stands, near or below 0 lies down",
            unit="m",
        ),
        sensor(
            "speed",
            "torso_subtreelinvel",
            "metres per second forward of the whole body; negative hops backward",
            unit="m/s",
        ),
        sensor(
            "vertical_velocity",
            "torso_subtreelinvel",
            "metres per second upward of the whole body; negative falls",
            unit="m/s",
            offset=2,
        ),
        position("torso_height", "xpos", "torso", "z", "metres of the torso above the floor"),
        position(
            "foot_height",
            "geom_xpos",
            "foot",
            "z",
            "metres of the foot above the floor; about 0.04 on the ground",
        ),
        cosine("torso_upright", "torso", "zz", "1 torso straight up, 0 level, -1 head down"),
        turn("torso_angle", "rooty", "tilt of the torso; positive leans forward, negative backward"),
        rate(
            "torso_angular_velocity",
            "rooty",
            "turning of the torso; positive tips forward, negative backward",
        ),
        sensor("toe_touch", "touch_toe", "newtons with which the toe presses on the ground", unit="N", low=0.0),
        sensor("heel_touch", "touch_heel", "newtons with which the heel presses on the ground", unit="N", low=0.0),
        *(joint(f"{name}_angle", name, description, low, high) for name, (low, high, description) in JOINTS.items()),
        *(rate(f"{name}_velocity", name, f"how fast {name}_angle grows") for name in JOINTS),
        *drives(*JOINTS),
    ]
