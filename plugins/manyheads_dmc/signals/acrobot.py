"""Acrobot: two arms on a fixed shoulder, a motor at the elbow; +x is right as the camera sees it."""

from manyheads_dmc.measures import Measure, controls, cosine, derived, position, rate, turn


def table(task: str) -> list[Measure]:
    return [
        turn("shoulder_angle", "shoulder", "upper arm from straight up; positive leans right, negative left"),
        turn(
            "elbow_angle",
            "elbow",
            "lower arm from in line with the upper; positive bends right, negative left",
        ),
        rate(
            "shoulder_velocity",
            "shoulder",
            "turning of the upper arm; positive to the right, negative to the left",
        ),
        rate("elbow_velocity", "elbow", "bending of the elbow; positive to the right, negative to the left"),
        cosine("upper_arm_upright", "upper_arm", "zz", "1 upper arm straight up, 0 level, -1 hanging down"),
        cosine("lower_arm_upright", "lower_arm", "zz", "1 lower arm straight up, 0 level, -1 hanging down"),
        position("tip_height", "site_xpos", "tip", "z", "metres of the tip above the floor; the shoulder is at 2"),
        position(
            "tip_position",
            "site_xpos",
            "tip",
            "x",
            "metres of the tip right of the shoulder; negative is left",
        ),
        derived(
            "tip_to_target_distance",
            lambda physics: physics.to_target(),
            "metres from the tip to the target straight above the shoulder",
            unit="m",
            low=0.0,
        ),
        *controls(elbow="torque at the elbow, as a share of the strongest; positive bends right, negative left"),
    ]
