"""Set before any test imports a simulator or torch: draw without a screen, one thread for each process of tests."""

import os

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("SDL_VIDEODRIVER", "offscreen,dummy")
os.environ.setdefault("SDL_FRAMEBUFFER_ACCELERATION", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")
