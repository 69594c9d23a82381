"""The reviewed table of signals for each domain: one module a domain, one function of the task in each."""

from collections.abc import Callable

from manyheads_dmc.measures import Measure
from manyheads_dmc.signals import (
    acrobot,
    ball_in_cup,
    cartpole,
    cheetah,
    dog,
    finger,
    fish,
    hopper,
    humanoid,
    humanoid_CMU,
    lqr,
    manipulator,
    pendulum,
    point_mass,
    quadruped,
    reacher,
    stacker,
    swimmer,
    walker,
)

TABLES: dict[str, Callable[[str], list[Measure]]] = {
    "acrobot": acrobot.table,
    "ball_in_cup": ball_in_cup.table,
    "cartpole": cartpole.table,
    "cheetah": cheetah.table,
    "dog": dog.table,
    "finger": finger.table,
    "fish": fish.table,
    "hopper": hopper.table,
    "humanoid": humanoid.table,
    "humanoid_CMU": humanoid_CMU.table,
    "lqr": lqr.table,
    "manipulator": manipulator.table,
    "pendulum": pendulum.table,
    "point_mass": point_mass.table,
    "quadruped": quadruped.table,
    "reacher": reacher.table,
    "stacker": stacker.table,
    "swimmer": swimmer.table,
    "walker": walker.table,
}
