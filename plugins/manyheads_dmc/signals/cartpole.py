"""Cartpole: a cart on a rail, with one pole or a chain of poles on it; +x is right as the camera sees it."""

from manyheads_dmc.measures import Measure, controls, cosine, joint, rate, turn

POLES = {"two_poles": 2, "three_poles": 3}


def table(task: str) -> list[Measure]:
    poles = POLES.get(task, 1)
    chain = [measure for number in range(poles) for measure in _pole(number, "" if poles == 1 else f"[{number}]")]
    return [
        joint(
            "cart_position",
            "slider",
            "metres right of the centre of the rail; negative is left; the rail ends at 1.8",
            -1.8,
            1.8,
            unit="m",
        ),
        rate("cart_velocity", "slider", "metres per second to the right; negative moves left", unit="m/s"),
        *chain,
        *controls(slide="push on the cart, as a share of the strongest: positive to the right, negative to the left"),
    ]


def _pole(number: int, suffix: str) -> list[Measure]:
    hinge, body = f"hinge_{number + 1}", f"pole_{number + 1}"
    which = "the pole" if not suffix else f"pole {number + 1}, counted from the cart,"
    bend = "upright" if number == 0 else "in line with the pole below it"
    return [
        turn(
            f"pole_angle{suffix}",
            hinge,
            f"angle of {which} from {bend}, positive leaning right, negative leaning left; hanging down is pi"
            if number == 0
            else f"angle of {which} from {bend}, positive bent right, negative bent left",
        ),
        cosine(
            f"pole_angle_cosine{suffix}",
            body,
            "zz",
            f"how upright {which} is: 1 straight up, 0 level, -1 hanging straight down",
        ),
        rate(
            f"pole_angular_velocity{suffix}",
            hinge,
            f"how fast the angle of {which} grows; positive turns to the right, negative to the left",
        ),
    ]
