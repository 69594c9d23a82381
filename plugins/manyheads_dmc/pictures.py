"""Poses from observations: the state of a simulator that would be observed so, for drawing what was imagined.

Where a task leaves out where the body is (cheetah, hopper, swimmer, walker), it is drawn at the origin.
Domains that leave out more (which way a body faces) are not here.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

Row = dict[str, np.ndarray]
Pose = Callable[[Any, Row], None]


def _acrobot(physics: Any, row: Row) -> None:
    upper, lower = np.arctan2(row["orientations"][:2], row["orientations"][2:])
    physics.data.qpos[:] = upper, lower - upper


def _cartpole(physics: Any, row: Row) -> None:
    cosines, sines = row["position"][1:].reshape(-1, 2).T
    physics.data.qpos[:] = row["position"][0], *_relative(np.arctan2(sines, cosines))


def _all_positions(physics: Any, row: Row) -> None:
    physics.data.qpos[:] = row["position"]


def _all_but_place(physics: Any, row: Row) -> None:
    physics.data.qpos[:] = 0.0, *row["position"]


def _finger(physics: Any, row: Row) -> None:
    proximal, distal, x, z = row["position"]
    physics.named.data.qpos[["proximal", "distal", "hinge"]] = proximal, distal, np.arctan2(-x, z)
    if "target_position" in row:
        hinge = physics.named.model.body_pos["spinner", ["x", "z"]]
        physics.named.model.site_pos["target", ["x", "z"]] = hinge + row["target_position"]


def _pendulum(physics: Any, row: Row) -> None:
    cosine, sine = row["orientation"]
    physics.data.qpos[:] = np.arctan2(sine, cosine)


def _reacher(physics: Any, row: Row) -> None:
    physics.data.qpos[:] = row["position"]
    physics.forward()
    finger = physics.named.data.geom_xpos["finger", ["x", "y"]]
    physics.named.model.geom_pos["target", ["x", "y"]] = finger + row["to_target"]


def _swimmer(physics: Any, row: Row) -> None:
    physics.data.qpos[:] = 0.0, 0.0, 0.0, *row["joints"]
    physics.forward()
    turn = physics.named.data.xmat["head"].reshape(3, 3)[:2, :2]
    nose = physics.named.data.geom_xpos["nose", ["x", "y"]]
    physics.named.model.geom_pos["target", ["x", "y"]] = nose + turn @ row["to_target"]


def _walker(physics: Any, row: Row) -> None:
    torso, *legs = np.arctan2(*row["orientations"].reshape(-1, 2).T[::-1])
    position = physics.named.data.qpos
    position["rootx"] = 0.0
    position["rootz"] = row["height"][0] - physics.named.model.body_pos["torso", "z"]
    position["rooty"] = torso
    for side, angles in (("right", legs[:3]), ("left", legs[3:])):
        # The legs' joints turn the other way round than the torso's.
        bends = -_relative(np.array([torso, *angles]))[1:]
        position[[f"{side}_{joint}" for joint in ("hip", "knee", "ankle")]] = bends


def _relative(angles: np.ndarray) -> np.ndarray:
    """Angles of a chain of links to the world, as each link's to the one before, within half a turn."""
    bends = [later - earlier for earlier, later in pairwise([0.0, *angles])]
    return (np.array(bends) + np.pi) % (2 * np.pi) - np.pi


POSES: dict[str, Pose] = {
    "acrobot": _acrobot,
    "ball_in_cup": _all_positions,
    "cartpole": _cartpole,
    "cheetah": _all_but_place,
    "finger": _finger,
    "hopper": _all_but_place,
    "lqr": _all_positions,
    "pendulum": _pendulum,
    "point_mass": _all_positions,
    "reacher": _reacher,
    "swimmer": _swimmer,
    "walker": _walker,
}


class Canvas:
    """A separate simulator, posed from observations and drawn; the one that runs is never touched."""

    def __init__(self, suite: Any, domain: str, parts: dict[str, int], camera: int) -> None:
        self._physics, self._pose = suite.physics, POSES[domain]
        # The task's own start sets what no observation holds (sizes and colours of targets).
        suite.task.random.seed(0)
        suite.reset()
        self._camera = camera
        self._keys = list(parts)
        self._splits = np.cumsum(list(parts.values()))[:-1]

    def draw(self, vector: np.ndarray) -> np.ndarray:
        """The picture (240, 320, 3) uint8 of the state in which `vector` would be observed."""
        values = np.split(np.asarray(vector, np.float64), self._splits)
        with self._physics.reset_context():
            self._pose(self._physics, dict(zip(self._keys, values, strict=True)))
        return np.asarray(self._physics.render(240, 320, camera_id=self._camera))
