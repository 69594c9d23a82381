"""A dm_control suite task as a Gymnasium environment that measures its signals."""

from __future__ import annotations

import os
import sys
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from manyheads.errors import ManyheadsError
from manyheads_dmc.domains import SuiteOptions
from manyheads_dmc.measures import Meter
from manyheads_dmc.pictures import POSES, Canvas
from manyheads_dmc.signals import TABLES

if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    # dm_control would choose GLFW when it is imported, which aborts the process without a screen.
    os.environ.setdefault("MUJOCO_GL", "egl")

import mujoco
from dm_control import _render, suite
from dm_control.rl.control import PhysicsError

Row = dict[str, Any]


UNBOUNDED = 1e9


class Simulator(gymnasium.Env[Row, np.ndarray]):
    """One domain with its options.

    Observations are a Dict of the task's own in alphabetical order (float32) and, if wanted, `image`; actions
    are a Box in [-1, 1] scaled to the actuators' ranges. The time limit truncates; discount 0 terminates.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 (the name and form are Gymnasium's)
    render_mode = "rgb_array"

    def __init__(self, domain: str, options: SuiteOptions) -> None:
        self.domain, self.options = domain, options
        # One seed for loading, since lqr draws its dynamics there; episodes are seeded at reset.
        self.suite = self._load()
        self.physics = self.suite.physics
        self.metadata = {
            **self.metadata,
            "render_fps": 1 / (self.suite.control_timestep() * options.action_repeat),
        }
        self._seeded = False
        self._canvas: Canvas | None = None
        self._meter = Meter(TABLES[domain](options.task), self.physics)
        if options.camera >= self.physics.model.ncam:
            raise ManyheadsError(
                f"dmc/{domain}: camera={options.camera}; it has cameras 0 to {self.physics.model.ncam - 1}."
            )
        spec = self.suite.action_spec()
        # Unbounded inputs (lqr's, whose bounds are MuJoCo's largest number) take the action as it is.
        bounded = spec.maximum < UNBOUNDED
        self._low = np.where(bounded, spec.minimum, -1.0)
        self._half_range = (np.where(bounded, spec.maximum, 1.0) - self._low) / 2.0
        self.action_space = spaces.Box(-1.0, 1.0, spec.shape, np.float32)
        parts: dict[str, spaces.Space[Any]] = {}
        if options.vector:
            for key, value in self.suite.observation_spec().items():
                parts[key] = spaces.Box(-np.inf, np.inf, value.shape or (1,), np.float32)
        if options.image_size is not None:
            parts["image"] = spaces.Box(0, 255, (options.image_size, options.image_size, 3), np.uint8)
        self.observation_space: spaces.Dict = spaces.Dict(parts)
        self._shapes = [(key, part.shape or ()) for key, part in self.observation_space.items()]
        # The suite would observe after each repeat of an action; `_observe` does once, when the last is carried out.
        self.get_observation = self.suite.task.get_observation
        self.suite.task.get_observation = lambda physics: None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Row, Row]:
        super().reset(seed=seed)
        if seed is not None or not self._seeded:
            self.suite.task.random.seed(seed)
            self._seeded = True
        self.suite.reset()
        return self._observe(), {"signals": self._meter()}

    def step(self, action: np.ndarray) -> tuple[Row, float, bool, bool, Row]:
        clipped = np.minimum(np.maximum(action, -1.0), 1.0)
        control = self._low + (clipped.astype(np.float64) + 1.0) * self._half_range
        reward = 0.0
        for _ in range(self.options.action_repeat):
            try:
                step = self.suite.step(control)
            except PhysicsError as error:
                raise ManyheadsError(
                    f"dmc/{self.domain} {self.options.task}: the simulation became unstable: {error}"
                ) from error
            reward += float(step.reward)
            if last := step.last():
                break
        terminated = last and step.discount == 0.0
        return self._observe(), reward, terminated, last and not terminated, {"signals": self._meter()}

    def render(self) -> np.ndarray:
        """The camera's picture, (240, 320, 3) uint8."""
        return self._draw(240, 320)

    def picture(self, vector: np.ndarray) -> np.ndarray | None:
        """Draws the state that would be observed as `vector`, an observation's numbers, as `render` does.

        None where observations don't tell the state. The running episode is not touched.
        """
        if self.domain not in POSES or not self.options.vector:
            return None
        if self._canvas is None:
            boxes = self.observation_space.items()
            parts = {key: int(np.prod(box.shape or ())) for key, box in boxes if key != "image"}
            self._canvas = Canvas(self._load(), self.domain, parts, self.options.camera)
        return self._canvas.draw(vector)

    def close(self) -> None:
        self.suite.close()

    def _draw(self, height: int, width: int) -> np.ndarray:
        if _render.BACKEND == "glfw" and sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
            raise ManyheadsError(
                "dm_control was imported to draw on a screen, and there is none. Set MUJOCO_GL=egl (or osmesa) before."
            )
        try:
            return np.asarray(self.physics.render(height, width, camera_id=self.options.camera))
        except mujoco.FatalError as error:
            raise ManyheadsError(
                f"MuJoCo can't draw with {_render.BACKEND} (DISPLAY={os.environ.get('DISPLAY', '')}): {error}. "
                "Set the environment variable MUJOCO_GL=egl (or osmesa) before."
            ) from error

    def _load(self) -> Any:
        return suite.load(self.domain, self.options.task, task_kwargs={"random": 0})

    def _observe(self) -> Row:
        observed = self.get_observation(self.physics) if self.options.vector else {}
        return {
            key: self._draw(*shape[:2]) if key == "image" else np.asarray(observed[key], np.float32).reshape(shape)
            for key, shape in self._shapes
        }
