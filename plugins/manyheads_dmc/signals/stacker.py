"""Stacker: the planar arm stacks boxes at a target; +x is right, z is up."""

from manyheads_dmc.measures import Measure, position
from manyheads_dmc.signals.arm import arm, distance, motors

BOXES = {"stack_2": 2, "stack_4": 4}


def table(task: str) -> list[Measure]:
    return [
        *arm(),
        position(
            "target_position",
            "site_xpos",
            "target",
            "x",
            "metres of the target right of the arm's foot; negative is left",
        ),
        position("target_height", "site_xpos", "target", "z", "metres of the target above the floor"),
        distance("hand_to_target_distance", "grasp", "target", "metres from the hand's grip to the target"),
        *(measure for number in range(BOXES[task]) for measure in _box(number)),
        *motors(),
    ]


def _box(number: int) -> list[Measure]:
    box = f"box{number}"
    return [
        position(
            f"box_position[{number}]",
            "site_xpos",
            box,
            "x",
            f"metres of box {number + 1} right of the arm's foot; negative is left",
        ),
        position(f"box_height[{number}]", "site_xpos", box, "z", f"metres of box {number + 1} above the floor"),
        distance(f"box_to_target_distance[{number}]", box, "target", f"metres from box {number + 1} to the target"),
        distance(
            f"box_to_hand_distance[{number}]",
            box,
            "grasp",
            f"metres from box {number + 1} to the hand's grip",
        ),
    ]
