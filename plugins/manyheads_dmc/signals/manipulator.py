"""Manipulator: the planar arm brings a ball or a peg to a target; +x is right, z is up."""

from manyheads_dmc.measures import Measure, position, rate, turn
from manyheads_dmc.signals.arm import arm, distance, motors


def table(task: str) -> list[Measure]:
    prop = "peg" if task.endswith("peg") else "ball"
    return [
        *arm(),
        position(
            f"{prop}_position",
            "site_xpos",
            prop,
            "x",
            f"metres of the {prop} right of the arm's foot; negative is left",
        ),
        position(f"{prop}_height", "site_xpos", prop, "z", f"metres of the {prop} above the floor"),
        turn(f"{prop}_angle", f"{prop}_y", f"turn of the {prop}, positive clockwise"),
        rate(
            f"{prop}_velocity[0]",
            f"{prop}_x",
            f"the {prop}'s speed to the right; negative moves left",
            unit="m/s",
        ),
        rate(f"{prop}_velocity[1]", f"{prop}_z", f"the {prop}'s speed upward; negative falls", unit="m/s"),
        position(
            "target_position",
            "site_xpos",
            f"target_{prop}",
            "x",
            "metres of the target right of the arm's foot; negative is left",
        ),
        position("target_height", "site_xpos", f"target_{prop}", "z", "metres of the target above the floor"),
        distance(f"{prop}_to_target_distance", prop, f"target_{prop}", f"metres from the {prop} to the target"),
        *(_peg() if prop == "peg" else _ball()),
        *motors(),
    ]


def _ball() -> list[Measure]:
    return [distance("ball_to_hand_distance", "ball", "grasp", "metres from the ball to the hand's grip")]


def _peg() -> list[Measure]:
    return [
        distance("peg_to_hand_distance", "peg_grasp", "grasp", "metres from the peg's handle to the hand's grip"),
        distance("peg_to_pinch_distance", "peg_pinch", "pinch", "metres from the peg's neck to the fingertips"),
        distance(
            "peg_tip_to_target_distance",
            "peg_tip",
            "target_peg_tip",
            "metres from the peg's tip to where it belongs",
        ),
    ]
