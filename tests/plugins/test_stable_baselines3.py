"""PPO of Stable-Baselines3 learns in a world model and plays in the simulator, as docs/other_libraries.md shows."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import manyheads
from docs_pages import PAGES, blocks
from helpers import MANYHEADS, run

pytest.importorskip("stable_baselines3")
SWING = """
version: 1
environment: gymnasium/Pendulum-v1
reward:
  source: spec
  spec:
    version: 1
    goal: Hold the pendulum upright.
    environment: gymnasium/Pendulum-v1
    reward:
      combine: product
      of:
        - x: {signal: pole_angle_cosine}
          to: {shape: ramp, low: -1.0, high: 1.0}
        - x: {signal: pole_angular_velocity}
          to: {shape: tolerance, lower: -0.5, upper: 0.5, margin: 4.0}
          floor: 0.5
episode_steps: 200
goal: Hold the pendulum upright.
"""


@pytest.mark.slow
def test_ppo_learns_in_a_world_model_what_it_plays_in_the_simulator(tmp_path: Path) -> None:
    (tmp_path / "swing.yaml").write_text(SWING)
    wander = ("train", "world", "gymnasium/Pendulum-v1-wander", "--settings", "starter", "--steps", 8000)
    settings = ("--set", "training.num_envs=4", "--set", "training.train_ratio=256")
    assert run(MANYHEADS, *map(str, wander), *settings, cwd=tmp_path, timeout=3600).returncode == 0
    [code] = [text for text in blocks(PAGES["docs/other_libraries.md"], "python") if "PPO" in text]
    learning, playing = code.split("simulator = ")
    seeds = range(10_000_000, 10_000_003)
    names: dict[str, Any] = {}
    with contextlib.chdir(tmp_path):
        exec(learning, names)
        earned = [play(f"simulator = {playing.replace('seed=1', f'seed={seed}')}", names) for seed in seeds]
    curve = [np.mean(part) for part in np.array_split(names["agent"].env.envs[0].get_episode_rewards(), 8)]
    random = [play_random(tmp_path / "swing.yaml", seed) for seed in seeds]
    print("in the world", np.round(curve, 1), "in the simulator", np.round(earned, 1), "random", np.round(random, 1))
    assert curve[-1] > curve[0]
    assert np.mean(earned) > np.mean(random) + 40


def play(code: str, names: dict[str, Any]) -> float:
    """Plays an episode as the page's code does; gives what the agent earned."""
    exec(code, names)
    return float(names["earned"])


def play_random(task: Path, seed: int) -> float:
    env = manyheads.load_task(task).make_environment()
    env.reset(seed=seed)
    env.action_space.seed(seed)
    earned, done = 0.0, False
    while not done:
        _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        earned, done = earned + reward, terminated or truncated
    return earned
