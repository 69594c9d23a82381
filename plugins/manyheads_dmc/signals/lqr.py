"""LQR: balls in a row, chained by springs, each free along one line; the first ones are pushed."""

from manyheads_dmc.measures import Measure, controls, derived, joint, rate

SIZES = {"lqr_2_1": (2, 1), "lqr_6_2": (6, 2)}


def table(task: str) -> list[Measure]:
    balls, pushed = SIZES[task]
    return [
        *(
            joint(f"position[{i}]", f"joint_{i}", f"metres of ball {i + 1} from its place of rest", unit="m")
            for i in range(balls)
        ),
        *(rate(f"velocity[{i}]", f"joint_{i}", f"metres per second of ball {i + 1}", unit="m/s") for i in range(balls)),
        derived(
            "state_norm",
            lambda physics: physics.state_norm(),
            "size of all positions and velocities together; 0 with everything at rest",
            low=0.0,
        ),
        *controls(**{f"motor_{i}": f"push on ball {i + 1}" for i in range(pushed)}),
    ]
