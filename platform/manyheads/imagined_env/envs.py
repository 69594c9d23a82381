"""`manyheads.imagined(world, task)`: a Gymnasium environment, or several stepped together, inside a world model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, overload

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from manyheads.environment.pictures import Pixels
from manyheads.errors import ManyheadsError
from manyheads.imagined_env.episodes import ImaginedEpisodes, ImaginedRow
from manyheads.imagined_env.opened import OpenedWorld
from manyheads.storage.agent import load
from manyheads.task import Task, load_task

Info = dict[str, Any]
FPS = 30


class ImaginedEnv(gymnasium.Env[Any, Any]):
    """Episodes of a task as a world imagines them, in the spaces of the task's environment.

    `reward` is the task's own. An episode ends where the world expects the simulator to end it, or where the task does;
    it is truncated after the task's `episode_steps`.
    """

    def __init__(self, episodes: ImaginedEpisodes) -> None:
        self._episodes = episodes
        self.observation_space = episodes.unflatten.space
        self.action_space = episodes.env.env.action_space
        pictured = episodes.world.interface.image is not None
        self.metadata = {"render_modes": ["rgb_array"] if pictured else [], "render_fps": FPS}
        self.render_mode = "rgb_array" if pictured else None
        self._steps = 0
        self._row: ImaginedRow | None = None

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Any, Info]:
        """An episode from a recorded first row; equal seeds give equal episodes."""
        super().reset(seed=seed)
        self._steps, self._row = 0, self._episodes.reset(0, self.np_random)
        return self._row.observation, self._row.info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, Info]:
        """The next row, by a native action."""
        if self._row is None:
            raise ManyheadsError("An imagined episode begins with `reset`; call it before the first `step`.")
        self._steps += 1
        [row] = self._episodes.step([0], [self._episodes.env.act.flatten(action)])
        self._row = row
        truncated = self._steps >= self._episodes.task.episode_steps
        return row.observation, row.reward, row.terminated, truncated, row.info

    def render(self) -> Pixels | None:
        """The decoded picture (H, W, 3); None in a world without pictures."""
        return None if self._row is None else _picture(self._row)

    def close(self) -> None:
        self._episodes.env.close()


class ImaginedVectorEnv(VectorEnv[Any, Any, Any]):
    """N imagined episodes in one batch; one that is over restarts with the next step, as is Gymnasium's default."""

    metadata: Info = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, episodes: ImaginedEpisodes) -> None:
        self._episodes, self.num_envs = episodes, episodes.number
        self.single_observation_space = episodes.unflatten.space
        self.single_action_space = episodes.env.env.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.render_mode = "rgb_array" if episodes.world.interface.image is not None else None
        self._generators = [np.random.default_rng() for _ in range(self.num_envs)]
        self._steps = np.zeros(self.num_envs, np.int64)
        self._over = np.zeros(self.num_envs, np.bool_)
        self._rows: list[ImaginedRow] = []

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: Info | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets all episodes; environment i of seed s is `ImaginedEnv` of seed s + i."""
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed or [None] * self.num_envs
        for env, own in enumerate(seeds):
            if own is not None:
                self._generators[env] = gymnasium.utils.seeding.np_random(own)[0]
        self._steps[:], self._over[:] = 0, False
        self._rows = [self._episodes.reset(env, self._generators[env]) for env in range(self.num_envs)]
        return self._observations(), self._infos()

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step of each by native actions; where an episode was over, its first row, with reward 0."""
        if not self._rows:
            raise ManyheadsError("Imagined episodes begin with `reset`; call it before the first `step`.")
        flat = [self._episodes.env.act.flatten(action) for action in iterate(self.action_space, actions)]
        going = np.flatnonzero(~self._over).tolist()
        rows = dict(zip(going, self._episodes.step(going, [flat[env] for env in going]), strict=True)) if going else {}
        for env in np.flatnonzero(self._over).tolist():
            rows[env] = self._episodes.reset(env, self._generators[env])
        self._steps = np.where(self._over, 0, self._steps + 1)
        self._rows = [rows[env] for env in range(self.num_envs)]
        terminated = np.array([row.terminated for row in self._rows])
        truncated = self._steps >= self._episodes.task.episode_steps
        self._over = terminated | truncated
        reward = np.array([row.reward for row in self._rows])
        return self._observations(), reward, terminated, truncated, self._infos()

    def render(self) -> tuple[Pixels, ...] | None:
        """Each episode's decoded picture; None in a world without pictures."""
        if self.render_mode is None:
            return None
        return tuple(picture for row in self._rows if (picture := _picture(row)) is not None)

    def close_extras(self, **kwargs: Any) -> None:
        self._episodes.env.close()

    def _observations(self) -> Any:
        space = self.single_observation_space
        rows = [row.observation for row in self._rows]
        room: Any = create_empty_array(space, self.num_envs)
        return concatenate(space, rows, room)

    def _infos(self) -> dict[str, Any]:
        infos: dict[str, Any] = {}
        for env, row in enumerate(self._rows):
            infos = self._add_info(infos, row.info, env)
        return infos


@overload
def imagined(
    world: str | Path | OpenedWorld, task: str | Path | Task, num_envs: None = None, *, members: int = 5, seed: int = 0
) -> ImaginedEnv: ...
@overload
def imagined(
    world: str | Path | OpenedWorld, task: str | Path | Task, num_envs: int, *, members: int = 5, seed: int = 0
) -> ImaginedVectorEnv: ...
def imagined(
    world: str | Path | OpenedWorld,
    task: str | Path | Task,
    num_envs: int | None = None,
    *,
    members: int = 5,
    seed: int = 0,
) -> ImaginedEnv | ImaginedVectorEnv:
    """The environment of a task as a world imagines it, or `num_envs` of them as a Gymnasium `VectorEnv`.

    `task` is a head of the world, a task's name or a task file. `members` predictors say in `info["disagreement"]` how
    little the world has seen of what it imagines; 0 leaves that out. Raises ManyheadsError where the world does not
    know the task's environment, or can't tell what the task pays.
    """
    if num_envs is not None and num_envs < 1:
        raise ManyheadsError(f"num_envs={num_envs}: expected at least 1, or None for a single environment.")
    if members == 1 or members < 0:
        raise ManyheadsError(f"members={members}: one predictor can't disagree; expected 0, or 2 and more.")
    loaded: OpenedWorld = load(world) if isinstance(world, str | Path) else world
    if not isinstance(task, Task):
        task = loaded.folder.task(task) if isinstance(task, str) and task in loaded.heads else load_task(task)
    episodes = ImaginedEpisodes(loaded, task, num_envs or 1, members, seed)
    return ImaginedEnv(episodes) if num_envs is None else ImaginedVectorEnv(episodes)


def _picture(row: ImaginedRow) -> Pixels | None:
    """RGB: one channel is shown grey, of more than three the last three (the newest of stacked frames)."""
    if row.image is None:
        return None
    channels = row.image.shape[-1]
    return np.repeat(row.image, 3, -1) if channels == 1 else row.image[..., -3:] if channels >= 3 else None
