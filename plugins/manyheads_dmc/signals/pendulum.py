"""Pendulum: a pole on a hinge with a weak motor; +x is right as the camera sees it."""

from manyheads_dmc.measures import Measure, controls, cosine, position, rate, turn


def table(task: str) -> list[Measure]:
    return [
        turn("pole_angle", "hinge", "angle from upright; positive leans right, negative left, pi hangs down"),
        cosine(
            "pole_angle_cosine",
            "pole",
            "zz",
            "how upright the pole is: 1 straight up, 0 level, -1 hanging straight down",
        ),
        rate(
            "pole_angular_velocity",
            "hinge",
            "how fast the pole turns; positive to the right, negative to the left",
        ),
        position("tip_position", "geom_xpos", "mass", "x", "metres of the tip right of the hinge; negative is left"),
        position(
            "tip_height",
            "geom_xpos",
            "mass",
            "z",
            "metres of the tip above the floor; from 0.1 hanging to 1.1 upright",
        ),
        *controls(torque="torque, as a share of the strongest; positive to the right, negative to the left"),
    ]
