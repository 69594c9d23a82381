"""What the dm_control suite holds, as a table that needs no import of dm_control; a test keeps it equal."""

from typing import Annotated, Any, Literal

from pydantic import Field, create_model, model_validator

from manyheads.environment.contract import Options

TASKS: dict[str, tuple[str, ...]] = {
    "acrobot": ("swingup", "swingup_sparse"),
    "ball_in_cup": ("catch",),
    "cartpole": ("balance", "balance_sparse", "swingup", "swingup_sparse", "two_poles", "three_poles"),
    "cheetah": ("run",),
    "dog": ("stand", "walk", "trot", "run", "fetch"),
    "finger": ("spin", "turn_easy", "turn_hard"),
    "fish": ("upright", "swim"),
    "hopper": ("stand", "hop"),
    "humanoid": ("stand", "walk", "run", "run_pure_state"),
    "humanoid_CMU": ("stand", "walk", "run"),
    "lqr": ("lqr_2_1", "lqr_6_2"),
    "manipulator": ("bring_ball", "bring_peg", "insert_ball", "insert_peg"),
    "pendulum": ("swingup",),
    "point_mass": ("easy", "hard"),
    "quadruped": ("walk", "run", "escape", "fetch"),
    "reacher": ("easy", "hard"),
    "stacker": ("stack_2", "stack_4"),
    "swimmer": ("swimmer6", "swimmer15"),
    "walker": ("stand", "walk", "run"),
}
"""Domains and their tasks; the first task is the default."""

CONTROL_SECONDS: dict[str, float] = {
    "acrobot": 0.01,
    "ball_in_cup": 0.02,
    "cartpole": 0.01,
    "cheetah": 0.01,
    "dog": 0.015,
    "finger": 0.02,
    "fish": 0.04,
    "hopper": 0.02,
    "humanoid": 0.025,
    "humanoid_CMU": 0.02,
    "lqr": 0.03,
    "manipulator": 0.01,
    "pendulum": 0.02,
    "point_mass": 0.02,
    "quadruped": 0.02,
    "reacher": 0.02,
    "stacker": 0.01,
    "swimmer": 0.03,
    "walker": 0.025,
}
"""Simulated time between two control inputs, the same in all tasks of a domain."""

SAME_SIMULATOR: dict[str, frozenset[str]] = {
    "acrobot": frozenset({"swingup", "swingup_sparse"}),
    "cartpole": frozenset({"balance", "balance_sparse", "swingup", "swingup_sparse"}),
    "dog": frozenset({"stand", "walk", "trot", "run"}),
    "hopper": frozenset({"stand", "hop"}),
    "humanoid": frozenset({"stand", "walk", "run"}),
    "humanoid_CMU": frozenset({"stand", "walk", "run"}),
    "quadruped": frozenset({"walk", "run"}),
    "reacher": frozenset({"easy", "hard"}),
    "walker": frozenset({"stand", "walk", "run"}),
}
"""Tasks of a domain that differ in nothing but the start of episodes and the simulator's reward.

Not among them: finger (hinge damping and the target's size differ), fish (what is observed), point_mass
(hard has random gains), lqr, manipulator, stacker and swimmer (other bodies). Where pictures are observed,
reacher's two tasks differ too: the target's size is seen.
"""


class SuiteOptions(Options):
    """Options that every domain has; `task` is one of the domain's own."""

    task: str
    action_repeat: Annotated[int, Field(ge=1, le=16)] = 1
    image_size: Annotated[int, Field(ge=16, le=512)] | None = None
    """side in pixels of a camera image in addition to (or instead of) the vector; None: no image"""
    camera: Annotated[int, Field(ge=0, le=15)] = 0
    vector: bool = True

    @model_validator(mode="after")
    def _observes_something(self) -> "SuiteOptions":
        if not self.vector and self.image_size is None:
            raise ValueError("vector=false leaves nothing to observe; set image_size, for example 64")
        return self


def options(domain: str) -> type[SuiteOptions]:
    """The options of a domain: its tasks are a closed set."""
    tasks = TASKS[domain]
    task: Any = (Literal[tasks], tasks[0])
    return create_model(f"{domain.title().replace('_', '')}Options", __base__=SuiteOptions, task=task)


def reset_only_options(domain: str) -> Any:
    """A function of the options: `task` where it changes neither dynamics nor observations nor signals."""
    group = SAME_SIMULATOR.get(domain, frozenset())

    def names(options: Any) -> frozenset[str]:
        seen = domain == "reacher" and options.image_size is not None
        same = not seen and options.task in group
        return frozenset({"task"}) if same else frozenset()

    return names
