"""Set before any test imports a simulator: draw without a screen."""

import os

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("SDL_VIDEODRIVER", "offscreen,dummy")
