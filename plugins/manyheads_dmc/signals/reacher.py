"""Reacher: a two-link arm on a table, seen from above; +x is right, +y is up, a target lies somewhere."""

from manyheads_dmc.measures import Measure, derived, drives, joint, position, rate, turn


def table(task: str) -> list[Measure]:
    return [
        turn(
            "shoulder_angle",
            "shoulder",
            "direction of the upper arm; 0 to the right, positive counterclockwise",
        ),
        joint(
            "wrist_angle",
            "wrist",
            "bend of the arm; 0 stretched, positive counterclockwise, negative clockwise",
            -2.793,
            2.793,
        ),
        rate(
            "shoulder_velocity",
            "shoulder",
            "turning of the shoulder; positive counterclockwise, negative clockwise",
        ),
        rate("wrist_velocity", "wrist", "turning of the wrist; positive counterclockwise, negative clockwise"),
        position(
            "finger_position[0]",
            "geom_xpos",
            "finger",
            "x",
            "metres of the finger right of the middle; negative is left",
        ),
        position(
            "finger_position[1]",
            "geom_xpos",
            "finger",
            "y",
            "metres of the finger above the middle; negative is below",
        ),
        derived(
            "finger_to_target[0]",
            lambda physics: physics.finger_to_target()[0],
            "metres from the finger to the target, to the right; negative: the target is to the left",
            unit="m",
        ),
        derived(
            "finger_to_target[1]",
            lambda physics: physics.finger_to_target()[1],
            "metres from the finger to the target, upward; negative: the target is below",
            unit="m",
        ),
        derived(
            "finger_to_target_distance",
            lambda physics: physics.finger_to_target_dist(),
            "metres from the middle of the finger to the middle of the target",
            unit="m",
            low=0.0,
        ),
        *drives("shoulder", "wrist"),
    ]
