"""Cheetah: a flat runner in the x-z plane, head towards +x (forward)."""

from manyheads_dmc.measures import Measure, cosine, drives, joint, position, rate, sensor, turn

JOINTS = {
    "bthigh": ("back_thigh", -0.524, 1.047, "positive swings the back leg backward, negative forward"),
    "bshin": ("back_shin", -0.873, 0.873, "positive swings the back shin backward, negative forward"),
    "bfoot": ("back_foot", -4.014, 0.873, "positive swings the back foot backward, negative forward"),
    "fthigh": ("front_thigh", -0.995, 0.007, "0 at its furthest back, negative swings the front leg forward"),
    "fshin": ("front_shin", -1.222, 0.873, "positive swings the front shin backward, negative forward"),
    "ffoot": ("front_foot", -0.489, 0.489, "positive turns the front foot down, negative up"),
}


def table(task: str) -> list[Measure]:
    return [
        sensor(
            "speed",
            "torso_subtreelinvel",
            "metres per second forward of the whole body; negative runs backward",
            unit="m/s",
        ),
        sensor(
            "vertical_velocity",
            "torso_subtreelinvel",
            "metres per second upward of the whole body; negative falls",
            unit="m/s",
            offset=2,
        ),
        position(
            "torso_height",
            "xpos",
            "torso",
            "z",
            "metres of the torso above the floor; about 0.6 when standing",
        ),
        turn(
            "torso_angle",
            "rooty",
            "tilt of the torso; positive nose down, negative nose up (rearing), pi on its back",
        ),
        rate(
            "torso_angular_velocity",
            "rooty",
            "turning of the torso; positive tips forward, negative backward",
        ),
        cosine(
            "torso_upright",
            "torso",
            "zz",
            "1 right way up, 0 standing on nose or tail, -1 upside down on its back",
        ),
        position("back_foot_height", "geom_xpos", "bfoot", "z", "metres of the back foot above the floor"),
        position("front_foot_height", "geom_xpos", "ffoot", "z", "metres of the front foot above the floor"),
        *(joint(f"{name}_angle", of, description, low, high) for of, (name, low, high, description) in JOINTS.items()),
        *(rate(f"{name}_velocity", of, f"how fast {name}_angle grows") for of, (name, *_) in JOINTS.items()),
        *drives(*JOINTS),
    ]
