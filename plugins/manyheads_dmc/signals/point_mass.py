"""Point mass: a ball pushed about a square with the target in its middle; from above +x is right, +y up."""

from manyheads_dmc.measures import Measure, controls, derived, joint, rate


def table(task: str) -> list[Measure]:
    mixed = "; here the two inputs push in directions drawn at each episode's start" if task == "hard" else ""
    return [
        joint(
            "position[0]",
            "root_x",
            "metres right of the middle, seen from above; negative is left",
            -0.29,
            0.29,
            unit="m",
        ),
        joint(
            "position[1]",
            "root_y",
            "metres above the middle, seen from above; negative is below",
            -0.29,
            0.29,
            unit="m",
        ),
        rate("velocity[0]", "root_x", "metres per second to the right; negative moves left", unit="m/s"),
        rate("velocity[1]", "root_y", "metres per second up, seen from above; negative moves down", unit="m/s"),
        derived(
            "mass_to_target_distance",
            lambda physics: physics.mass_to_target_dist(),
            "metres from the ball to the target in the middle",
            unit="m",
            low=0.0,
        ),
        *controls(
            t1=f"push to the right (positive) or left (negative), as a share of the strongest{mixed}",
            t2=f"push up (positive) or down (negative), seen from above{mixed}",
        ),
    ]
