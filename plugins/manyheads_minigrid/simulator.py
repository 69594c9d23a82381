"""A level of minigrid as a Gymnasium environment that observes numbers and measures its signals."""

from __future__ import annotations

from typing import Any

import gymnasium
import minigrid
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import load_env_creator
from minigrid.envs.babyai.core import roomgrid_level

from manyheads.errors import ManyheadsError
from manyheads_minigrid import MiniGridOptions
from manyheads_minigrid.levels import Level, full_id
from manyheads_minigrid.measures import Meter
from manyheads_minigrid.missions import MOST, WORDS, count_words
from manyheads_minigrid.views import VIEWS, Picture, draw

Row = dict[str, Any]

WIDEST = 512
"""pixels of a rendered picture's longer side, at most"""

# BabyAI prints each mission that it draws again, on the output that a program's own answers go to.
roomgrid_level.print = lambda *words: None  # type: ignore[attr-defined]


class Simulator(gymnasium.Env[Row, int]):
    """One id with its options.

    Observations are a Dict of what is seen (`views`), `direction` (0 right, 1 down, 2 left, 3 up) and `mission`
    (counts of words); the mission's text is in `info["mission"]`. Actions are minigrid's: turn left, turn right,
    walk, pick up, drop, toggle, done. The goal, lava and failing a mission terminate, `max_steps` truncates.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 (the name and form are Gymnasium's)
    render_mode = "rgb_array"

    def __init__(self, name: str, level: Level, options: MiniGridOptions) -> None:
        spec = gymnasium.registry.get(full_id(name))
        if spec is None:
            raise ManyheadsError(
                f"minigrid/{name} is not in the minigrid installed here ({minigrid.__version__}). "
                "Install a newer one: `pip install 'manyheads[minigrid]'`."
            )
        make: Any = load_env_creator(str(spec.entry_point))
        self.grid = make(**spec.kwargs, render_mode=self.render_mode)
        self.grid.agent_view_size = options.agent_view_size
        self.grid.tile_size = min(32, WIDEST // max(level.width, level.height))
        self.view = VIEWS[options.view](options.agent_view_size, options.image_size)
        self._measure = Meter(level, self.grid)
        self.action_space = self.grid.action_space
        self.observation_space: spaces.Dict = spaces.Dict(
            {
                self.view.key: self.view.space,
                "direction": spaces.Discrete(4),
                "mission": spaces.Box(0, MOST, (len(WORDS),), np.float32),
            }
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Row, Row]:
        super().reset(seed=seed)
        self.grid.reset(seed=seed, options=options)
        self._mission = count_words(self.grid.mission)
        # Seen again: levels that begin with something in hand are given it after their own first look.
        return self._observe(self.grid.gen_obs()["image"]), self._info(0.0)

    def step(self, action: int) -> tuple[Row, float, bool, bool, Row]:
        seen, reward, terminated, truncated, _ = self.grid.step(action)
        return self._observe(seen["image"]), float(reward), terminated, truncated, self._info(float(reward))

    def render(self) -> np.ndarray:
        """The whole grid from above, what the agent sees in lighter grey; (H, W, 3) uint8."""
        return np.asarray(self.grid.render())

    def picture(self, vector: np.ndarray) -> np.ndarray | None:
        """Draws the view that would be observed as `vector`, an observation's numbers; None where it is a picture."""
        if isinstance(self.view, Picture):
            return None
        keys = list(self.observation_space)
        before = sum(int(spaces.flatdim(self.observation_space[key])) for key in keys[: keys.index(self.view.key)])
        numbers = vector[before : before + int(spaces.flatdim(self.view.space))]
        return draw(self.view.codes(numbers), WIDEST // (2 * self.view.size))

    def close(self) -> None:
        self.grid.close()

    def _observe(self, seen: np.ndarray) -> Row:
        return {
            self.view.key: self.view.observe(self.grid, seen.swapaxes(0, 1)),
            "direction": int(self.grid.agent_dir),
            "mission": self._mission.copy(),
        }

    def _info(self, reward: float) -> Row:
        return {"signals": self._measure(reward), "mission": self.grid.mission}
