"""Builds an id of Gymnasium's registry with its options, and remembers the input that led to a row."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.utils import RecordConstructorArgs
from gymnasium.wrappers import FrameStackObservation

from manyheads.errors import ManyheadsError
from manyheads_gymnasium.options import GymnasiumOptions
from manyheads_gymnasium.wrappers import ActionRepeat, AddPicture, ReadPictures, observes_picture

if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
    # Without a screen: MuJoCo's pictures through EGL, pygame's without a window. Under the driver "dummy" some
    # simulators draw nothing (highway-env), so it comes second. The driver "offscreen" would accelerate its windows
    # through MuJoCo's EGL display, and end that when one is closed.
    os.environ.setdefault("MUJOCO_GL", "egl")
    os.environ.setdefault("SDL_VIDEODRIVER", "offscreen,dummy")
    os.environ.setdefault("SDL_FRAMEBUFFER_ACCELERATION", "0")


def build(spec: EnvSpec, module: str, options: GymnasiumOptions) -> gymnasium.Env[Any, Any]:
    """The environment of a registered id; ManyheadsError where something that it needs is missing.

    `module` registers the id and is imported first, "" where that is not needed: so it is in worker processes.
    """
    try:
        if module:
            importlib.import_module(module)
        env = _make(spec, options)
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise ManyheadsError(f"gymnasium/{spec.id} does not build here: {error}") from error
    if options.action_repeat > 1:
        env = ActionRepeat(env, options.action_repeat)
    if options.image_size is not None and not observes_picture(env.observation_space):
        env = AddPicture(env, options.image_size)
    if options.grey or options.image_size is not None:
        if not observes_picture(env.observation_space):
            raise ManyheadsError(f"gymnasium/{spec.id} observes no picture. Leave grey out, or add image_size.")
        env = ReadPictures(env, options.image_size, options.grey)
    if options.frame_stack > 1:
        env = FrameStackObservation(env, options.frame_stack)
    return Simulator(env)


def _make(spec: EnvSpec, options: GymnasiumOptions) -> gymnasium.Env[Any, Any]:
    """The environment itself, which draws pictures where it can: functions and wrappers may not tell before."""
    arguments: dict[str, Any] = {**options.kwargs, "disable_env_checker": True}
    if options.max_episode_steps is not None:
        arguments["max_episode_steps"] = options.max_episode_steps
    if "render_mode" not in {**spec.kwargs, **options.kwargs} and _may_draw(spec):
        try:
            return gymnasium.make(spec, render_mode="rgb_array", **arguments)
        except Exception:  # built again without: what is wrong apart from pictures is raised there
            return gymnasium.make(spec, **arguments)
    return gymnasium.make(spec, **arguments)


def _may_draw(spec: EnvSpec) -> bool:
    assert spec.entry_point is not None
    creator: Any = spec.entry_point if callable(spec.entry_point) else load_env_creator(spec.entry_point)
    metadata = getattr(creator, "metadata", None)
    if isinstance(metadata, dict):
        return "rgb_array" in metadata.get("render_modes", ())
    parameters = inspect.signature(creator).parameters.values()
    return any(each.name == "render_mode" or each.kind is each.VAR_KEYWORD for each in parameters)


class Simulator(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Remembers `control`, the clipped input that led to the present row, as a share of the action's range."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gymnasium.Wrapper.__init__(self, env)
        space = env.action_space
        self._box = space if isinstance(space, spaces.Box) else None
        self.control = self._rest = np.zeros(self._box.shape if self._box else ())
        if self._box:
            self._low, self._high = self._box.low.astype(np.float64), self._box.high.astype(np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        if type(self.unwrapped).__module__ == "gymnasium.envs.box2d.bipedal_walker":
            _renew_world(self.unwrapped)
        self.control = self._rest
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        result = self.env.step(action)
        if self._box:
            clipped = np.clip(np.asarray(action, np.float64), self._low, self._high)
            with np.errstate(invalid="ignore", divide="ignore"):
                share = 2.0 * (clipped - self._low) / (self._high - self._low) - 1.0
            self.control = np.where(np.isfinite(self._high - self._low), share, clipped)
        return result


def _renew_world(walker: Any) -> None:
    """Gives BipedalWalker an empty world, as LunarLander takes itself: it keeps the last contacts otherwise."""
    from Box2D import b2World

    walker._destroy()
    walker.world = b2World()
