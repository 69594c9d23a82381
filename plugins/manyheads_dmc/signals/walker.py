"""Walker: a two-legged walker in the x-z plane, facing +x (forward)."""

from manyheads_dmc.measures import Measure, cosine, drives, joint, position, rate, sensor, turn

LIMITS = {
    "hip": (-0.349, 1.745, "positive swings the thigh forward, negative backward"),
    "knee": (-2.618, 0.0, "0 with the leg stretched, negative bends the knee"),
    "ankle": (-0.785, 0.785, "positive lifts the toes, negative points them down"),
}
JOINTS = {f"{side}_{name}": limits for side in ("right", "left") for name, limits in LIMITS.items()}


def table(task: str) -> list[Measure]:
    return [
        cosine("torso_upright", "torso", "zz", "1 torso straight up, 0 level, -1 head down"),
        position(
            "torso_height",
            "xpos",
            "torso",
            "z",
            "metres of the torso above the floor; about 1.3 when standing",
        ),
        sensor(
            "horizontal_velocity",
            "torso_subtreelinvel",
            "metres per second forward of the whole body; negative walks backward",
            unit="m/s",
        ),
        sensor(
            "vertical_velocity",
            "torso_subtreelinvel",
            "metres per second upward of the whole body; negative falls",
            unit="m/s",
            offset=2,
        ),
        turn("torso_angle", "rooty", "tilt of the torso; positive leans forward, negative backward"),
        rate(
            "torso_angular_velocity",
            "rooty",
            "turning of the torso; positive tips forward, negative backward",
        ),
        position("right_foot_height", "geom_xpos", "right_foot", "z", "metres of the right foot above the floor"),
        position("left_foot_height", "geom_xpos", "left_foot", "z", "metres of the left foot above the floor"),
        *(joint(f"{name}_angle", name, description, low, high) for name, (low, high, description) in JOINTS.items()),
        *(rate(f"{name}_velocity", name, f"how fast {name}_angle grows") for name in JOINTS),
        *drives(*JOINTS),
    ]
