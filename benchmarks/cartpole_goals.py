"""Four goals for dm_control's cartpole, each with eight reward specifications that a writer might come up with.

The first of a goal is the one that its true outcome is judged by; the others pay for a part of it, for more, for less
with a different fall outside the bounds, or for the opposite.
"""

from __future__ import annotations

from typing import Any

from manyheads import Task, TaskFile

Node = dict[str, Any]

POSITION: Node = {"signal": "cart_position"}
UPRIGHT: Node = {"signal": "pole_angle_cosine"}
SPIN: Node = {"op": "abs", "of": {"signal": "pole_angular_velocity"}}
SPEED: Node = {"op": "abs", "of": {"signal": "cart_velocity"}}


def within(x: Node, lower: float | None, upper: float | None, margin: float, sigmoid: str = "long_tail") -> Node:
    """A term that is 1 between the bounds and falls outside them."""
    shape = {"shape": "tolerance", "lower": lower, "upper": upper, "margin": margin, "sigmoid": sigmoid}
    return {"x": x, "to": shape}


def along(x: Node, low: float, high: float) -> Node:
    """A term that rises evenly from `low` to `high`."""
    return {"x": x, "to": {"shape": "ramp", "low": low, "high": high}}


def both(*terms: Node, combine: str = "product") -> Node:
    return {"combine": combine, "of": [*terms]}


HANGING = along(UPRIGHT, 1.0, -1.0)
STILL = within(SPIN, None, 0.2, 3.0) | {"floor": 0.3}


def parked(place: float) -> list[Node]:
    """Park the cart at a place, and let the pole hang still."""
    near = place - 0.2, place + 0.2
    return [
        both(within(POSITION, *near, 1.0), HANGING, STILL),
        both(within(POSITION, *near, 1.0), HANGING),
        both(within(POSITION, *near, 0.3, "gaussian"), HANGING, STILL),
        both(within(POSITION, *near, 0.0), HANGING),
        both(within(POSITION, *near, 1.0), HANGING, STILL, combine="weighted_mean"),
        within(POSITION, *near, 1.0),
        both(HANGING, STILL),
        both(within(POSITION, -place - 0.2, 0.2 - place, 1.0), HANGING) if place else within(SPEED, 1.0, None, 1.0),
    ]


SPUN: list[Node] = [
    within(SPIN, 8.0, None, 8.0),
    within(SPIN, 8.0, None, 2.0, "gaussian"),
    within(SPIN, 3.0, None, 3.0),
    within({"signal": "pole_angular_velocity"}, 8.0, None, 8.0),
    both(within(SPIN, 8.0, None, 8.0), within(POSITION, -0.5, 0.5, 1.0)),
    within(SPEED, 2.0, None, 2.0),
    both(along(UPRIGHT, -1.0, 1.0), within(SPIN, 8.0, None, 8.0), combine="weighted_mean"),
    within(SPIN, None, 0.5, 3.0),
]


def holds(place: float) -> Node:
    """The predicate of a cart that is parked at a place."""
    hanging = {"op": "le", "x": UPRIGHT, "than": -0.95}
    return {"op": "all", "of": [{"op": "between", "x": POSITION, "lower": place - 0.3, "upper": place + 0.3}, hanging]}


GOALS: dict[str, tuple[list[Node], Node]] = {
    "park_left": (parked(-1.0), holds(-1.0)),
    "park_right": (parked(1.0), holds(1.0)),
    "rest_in_the_middle": (parked(0.0), holds(0.0)),
    "spin": (SPUN, {"op": "ge", "x": SPIN, "than": 6.0}),
}
"""Each goal's rewards and when it has been reached."""


def candidates(goal: str) -> list[Task]:
    """The goal's tasks, `GOAL.1` to `GOAL.8`."""
    rewards, reached = GOALS[goal]
    return [_task(f"{goal}.{number}", reward, reached) for number, reward in enumerate(rewards, 1)]


def true_task(goal: str) -> Task:
    """The task that the goal's outcome is judged by, under the goal's own name."""
    rewards, reached = GOALS[goal]
    return _task(goal, rewards[0], reached)


def _task(name: str, reward: Node, reached: Node) -> Task:
    success = {"when": reached, "held_for": 25}
    spec = {"version": 1, "environment": "dmc/cartpole", "reward": reward, "success": success}
    content = {
        "version": 1,
        "environment": "dmc/cartpole",
        "options": {"task": "swingup", "action_repeat": 4},
        "reward": {"source": "spec", "spec": spec},
        "success": success,
        "episode_steps": 250,
    }
    return TaskFile.model_validate(content).resolve(name)
