"""An Atari 2600 game as a Gymnasium environment that measures its signals, as DreamerV3's runs play it.

Where this differs from the official code, on purpose: a time-out truncates (there it counts as terminal), the first
picture shows the new episode alone (there it is mixed with the last one), and where a game ends within an action's
frames its last frame is shown (there an older one may be).
"""

from __future__ import annotations

from typing import Any

import ale_py
import gymnasium
import numpy as np
import numpy.typing as npt
from ale_py import roms
from gymnasium import spaces
from PIL import Image

from manyheads.errors import ManyheadsError
from manyheads_atari.annotations import ANNOTATIONS
from manyheads_atari.games import AtariOptions
from manyheads_atari.memory import Meter

Pixels = npt.NDArray[np.uint8]

GREY = np.array([0.299, 0.587, 0.114])
"""how much red, green and blue count (ITU-R BT.601)"""


class Simulator(gymnasium.Env[Any, np.int64]):
    """One game with its options: observes pictures (size, size, 3 or 1) uint8, chooses one of the joystick's actions.

    Losing a life ends nothing; the end of the game terminates, `max_frames` truncate. Sticky actions and the number of
    frames before an episode are drawn from the episode's seed; nothing else is random.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 (the name and form are Gymnasium's)
    render_mode = "rgb_array"

    def __init__(self, name: str, rom: str, options: AtariOptions) -> None:
        self.options = options
        self.ale = _load(name, rom)
        chosen = self.ale.getMinimalActionSet() if options.actions == "minimal" else self.ale.getLegalActionSet()
        self.joystick = list(chosen)
        self.metadata = {**self.metadata, "render_fps": 60 / options.frame_skip}
        self._meter = Meter(ANNOTATIONS.get(rom, ()))
        self.ale.reset_game()
        self._start = self.ale.cloneState(include_rng=True)
        self._frames: Pixels = np.stack([self.ale.getScreenRGB()] * 2)
        """the last frame, and the one before"""
        self.action_space = spaces.Discrete(len(self.joystick))
        shape = (options.size, options.size, 1 if options.grey else 3)
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Pixels, dict[str, Any]]:
        super().reset(seed=seed)
        self._restart()
        for _ in range(self.np_random.integers(self.options.noops + 1)):
            self.ale.act(ale_py.Action.NOOP)
            if self.ale.game_over():
                self._restart()
        self._show_last_frame()
        self._held = ale_py.Action.NOOP
        self.score, self.frame = 0.0, 0
        return self._observe(), {"signals": self._signals()}

    def step(self, action: np.int64 | int) -> tuple[Pixels, float, bool, bool, dict[str, Any]]:
        reward, skip = 0.0, self.options.frame_skip
        for count in range(skip):
            if not self.options.sticky or self.np_random.random() >= self.options.sticky:
                self._held = self.joystick[int(action)]
            reward += self.ale.act(self._held)
            self.frame += 1
            over = self.ale.game_over()
            ends = over or self.frame >= self.options.max_frames
            if count >= skip - 2:
                self._frames[1] = self._frames[0]
                self.ale.getScreenRGB(self._frames[0])
            if ends:
                self._show_last_frame()
                break
        self.score += reward
        return self._observe(), reward, over, ends and not over, {"signals": self._signals()}

    def render(self) -> Pixels:
        """The console's own picture, (210, 160, 3) uint8 for most games."""
        return np.array(self._frames[0], np.uint8)

    def _restart(self) -> None:
        """The same start each time; a reset alone keeps traces of the last game, and so does a restored state alone."""
        self.ale.reset_game()
        self.ale.restoreState(self._start)

    def _show_last_frame(self) -> None:
        self.ale.getScreenRGB(self._frames[0])
        self._frames[1] = self._frames[0]

    def _observe(self) -> Pixels:
        size = (self.options.size, self.options.size)
        picture = Image.fromarray(self._frames.max(axis=0)).resize(size, Image.Resampling.BILINEAR)
        pixels: Pixels = np.array(picture)
        return (pixels @ GREY).astype(np.uint8)[..., None] if self.options.grey else pixels

    def _signals(self) -> dict[str, float]:
        common = {"score": self.score, "lives": float(self.ale.lives()), "frame": float(self.frame)}
        return common | self._meter(self.ale.getRAM())


def _load(name: str, rom: str) -> ale_py.ALEInterface:
    """The console with a game in it, just switched on."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    try:
        path = roms.get_rom_path(rom)
    except OSError as error:
        raise ManyheadsError(
            f"atari/{name}: ale-py's ROM {rom}.bin can't be read ({error}). Install it again with "
            "`pip install --force-reinstall ale-py`, or unset ALE_ROMS_DIR where it names another folder."
        ) from error
    if path is None:
        raise ManyheadsError(
            f"atari/{name}: ale-py {ale_py.__version__} has no ROM {rom}.bin. Upgrade it: "
            "`pip install --upgrade ale-py`."
        )
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", 0)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(path)
    return ale
