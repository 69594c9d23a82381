"""Builds an id of Gymnasium's registry, with its input and, if wanted, its picture beside the observation."""

from __future__ import annotations

import os
import sys
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import load_env_creator
from PIL import Image

from manyheads.errors import ManyheadsError

if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    # Without a screen: MuJoCo's pictures through EGL, pygame's without a window.
    os.environ.setdefault("MUJOCO_GL", "egl")
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def build(id: str, image_size: int | None) -> gymnasium.Env[Any, Any]:
    """The environment of a registered id; ManyheadsError where something that it needs is missing."""
    spec = gymnasium.spec(id)
    try:
        simulator: Any = load_env_creator(str(spec.entry_point))
        pictures = "rgb_array" in simulator.metadata.get("render_modes", ())
        env = gymnasium.make(spec, disable_env_checker=True, render_mode="rgb_array" if pictures else None)
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise ManyheadsError(f"gymnasium/{id} does not build here: {error}") from error
    return Simulator(env, image_size)


class Simulator(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Remembers `control`, the clipped input that led to the present row, and shows pictures as observations.

    With `image_size`, observations are a Dict of `image` (a square of that side) and `observation`.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], image_size: int | None) -> None:
        super().__init__(env)
        self.image_size = image_size
        self.control = self._rest = np.zeros(np.shape(env.action_space.sample()))
        if image_size is not None:
            if env.render_mode != "rgb_array":
                raise ManyheadsError(f"{env.spec and env.spec.id} draws no pictures. Leave image_size out.")
            image = spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
            self.observation_space = spaces.Dict({"image": image, "observation": env.observation_space})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        if type(self.unwrapped).__module__ == "gymnasium.envs.box2d.bipedal_walker":
            _renew_world(self.unwrapped)
        observation, info = self.env.reset(seed=seed, options=options)
        self.control = self._rest
        return self._observe(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if isinstance(self.env.action_space, spaces.Box):
            low, high = self.env.action_space.low, self.env.action_space.high
            self.control = 2.0 * (np.clip(action, low, high).astype(np.float64) - low) / (high - low) - 1.0
        return self._observe(observation), reward, terminated, truncated, info

    def _observe(self, observation: Any) -> Any:
        if self.image_size is None:
            return observation
        size = (self.image_size, self.image_size)
        picture = Image.fromarray(self._draw()).resize(size, Image.Resampling.BILINEAR)
        return {"image": np.asarray(picture), "observation": observation}

    def _draw(self) -> np.ndarray:
        try:
            return np.asarray(self.env.render(), np.uint8)
        except gymnasium.error.DependencyNotInstalled as error:
            raise ManyheadsError(f"Pictures need more: {error}") from error


def _renew_world(walker: Any) -> None:
    """Gives BipedalWalker an empty world, as LunarLander takes itself: it keeps the last contacts otherwise."""
    from Box2D import b2World

    walker._destroy()
    walker.world = b2World()
