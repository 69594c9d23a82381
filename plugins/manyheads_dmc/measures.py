"""Rows of the signal tables: what is measured, and where it lies in the simulator's arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, pi
from typing import Any

import numpy as np

from manyheads.environment.contract import Kind, Signal, Unit

COLUMNS = {name: i for i, name in enumerate("xyz")} | {
    a + b: 3 * i + j for i, a in enumerate("xyz") for j, b in enumerate("xyz")
}

# MjData arrays -> where a named object's first number lies in them.
ADDRESSES: dict[str, Callable[[Any, str], int]] = {
    "qpos": lambda model, name: model.joint(name).qposadr[0],
    "qvel": lambda model, name: model.joint(name).dofadr[0],
    "sensordata": lambda model, name: model.sensor(name).adr[0],
    "ctrl": lambda model, name: model.actuator(name).id,
    "xpos": lambda model, name: 3 * model.body(name).id,
    "xipos": lambda model, name: 3 * model.body(name).id,
    "xmat": lambda model, name: 9 * model.body(name).id,
    "subtree_com": lambda model, name: 3 * model.body(name).id,
    "geom_xpos": lambda model, name: 3 * model.geom(name).id,
    "site_xpos": lambda model, name: 3 * model.site(name).id,
}


@dataclass(frozen=True)
class At:
    """One number of an MjData array: a named object's, `offset` numbers after its first."""

    array: str
    name: str
    offset: int = 0

    def index(self, model: Any) -> int:
        return int(ADDRESSES[self.array](model, self.name)) + self.offset


@dataclass(frozen=True)
class Measure:
    """A signal and its source: a number of the simulator's arrays, or a function of dm_control's physics."""

    signal: Signal
    source: At | Callable[[Any], float]


def joint(
    name: str,
    of: str,
    description: str,
    low: float | None = None,
    high: float | None = None,
    *,
    unit: Unit = "rad",
    offset: int = 0,
) -> Measure:
    """A joint's position; its limits are springs that may give."""
    soft = low is not None
    return Measure(Signal(name, unit, "continuous", low, high, description, soft), At("qpos", of, offset))


def turn(name: str, of: str, description: str) -> Measure:
    """The angle of a hinge that can turn round and round, wrapped into (-pi, pi]."""
    return Measure(Signal(name, "rad", "angle", -pi, pi, description), At("qpos", of))


def rate(name: str, of: str, description: str, *, unit: Unit = "rad/s", offset: int = 0) -> Measure:
    """A joint's velocity."""
    return Measure(Signal(name, unit, "continuous", None, None, description), At("qvel", of, offset))


def cosine(name: str, body: str, entry: str, description: str) -> Measure:
    """An entry of a body's rotation matrix: `zz` is the cosine of its z-axis to the vertical."""
    return Measure(Signal(name, "1", "continuous", -1.0, 1.0, description), At("xmat", body, COLUMNS[entry]))


def position(name: str, array: str, of: str, axis: str, description: str) -> Measure:
    """A coordinate of a body, geom, site or centre of mass in the world's frame."""
    return Measure(Signal(name, "m", "continuous", None, None, description), At(array, of, COLUMNS[axis]))


def sensor(name: str, of: str, description: str, *, unit: Unit, offset: int = 0, low: float | None = None) -> Measure:
    """A number of one of the model's sensors."""
    return Measure(Signal(name, unit, "continuous", low, None, description), At("sensordata", of, offset))


def derived(
    name: str,
    of: Callable[[Any], float],
    description: str,
    *,
    unit: Unit = "1",
    kind: Kind = "continuous",
    low: float | None = None,
    high: float | None = None,
) -> Measure:
    """A function of dm_control's physics."""
    return Measure(Signal(name, unit, kind, low, high, description), of)


def control(number: int, actuator: str, description: str, low: float = -1.0, high: float = 1.0) -> Measure:
    """`control[number]`: the clipped input of an actuator that led to this row, 0 at reset."""
    return Measure(Signal(f"control[{number}]", "1", "continuous", low, high, description), At("ctrl", actuator))


def controls(**actuators: str) -> list[Measure]:
    """The controls of a model's actuators, in its order, in words."""
    return [control(i, name, description) for i, (name, description) in enumerate(actuators.items())]


def drives(*actuators: str) -> list[Measure]:
    """`controls` of motors that turn joints, in the sense of their joints."""
    description = "torque of {}, as a share of the strongest; positive the way the joint's angle grows"
    return controls(**{name: description.format(name.replace("_", " ")) for name in actuators})


class Meter:
    """Reads all measures of a table from a physics at once: one gather from its arrays, then the derived ones."""

    def __init__(self, table: Sequence[Measure], physics: Any) -> None:
        self._physics = physics
        self._names = [measure.signal.name for measure in table]
        self._angles = [i for i, m in enumerate(table) if m.signal.kind == "angle"]
        located = [(i, m.source) for i, m in enumerate(table) if isinstance(m.source, At)]
        self._derived = [(i, m.source) for i, m in enumerate(table) if not isinstance(m.source, At)]
        model, data = physics.model.ptr, physics.data.ptr
        arrays = {name: getattr(data, name).reshape(-1) for name in sorted({at.array for _, at in located})}
        self._arrays = [np.zeros(1), *arrays.values()]  # the zero stands for what is derived
        starts = dict(zip(arrays, np.cumsum([array.size for array in self._arrays]).tolist(), strict=False))
        self._indices = np.zeros(len(table), np.intp)
        for i, at in located:
            self._indices[i] = starts[at.array] + at.index(model)

    def __call__(self) -> dict[str, float]:
        gathered = np.concatenate(self._arrays)[self._indices]
        for i, function in self._derived:
            gathered[i] = function(self._physics)
        values = gathered.tolist()
        for i in self._angles:
            values[i] -= 2 * pi * ceil((values[i] - pi) / (2 * pi))
        return dict(zip(self._names, values, strict=True))
