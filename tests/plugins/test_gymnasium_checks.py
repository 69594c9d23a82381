"""Environments of the registry pass Gymnasium's own check and Stable-Baselines3's, and go where Gymnasium's own go."""

import pickle
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import manyheads
from manyheads import ManyheadsError
from manyheads.registry import registry

SAMPLE = (
    *(f"gymnasium/{id}" for id in ("CartPole-v1", "Pendulum-v1", "Blackjack-v1", "FrozenLake-v1")),
    *("dmc/cartpole", "dmc/ball_in_cup", "minigrid/DoorKey-5x5-v0"),
)

FAR = """
version: 1
environment: gymnasium/CartPole-v1
episode_steps: 50
reward:
  source: spec
  spec:
    environment: gymnasium/CartPole-v1
    reward: {combine: product, of: [{x: {signal: cart_position}, to: {shape: tolerance, lower: 0.02, margin: 0.1}}]}
    constraints:
      - {constraint: terminate, when: {op: gt, x: {op: abs, of: {signal: cart_position}}, than: 0.06}}
"""


def built(name: str) -> gymnasium.Env[Any, Any]:
    try:
        return manyheads.make(name)
    except ManyheadsError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Both checks warn of what a simulator's author may do better: bounds, deprecated ids, wrappers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def both_checks(name: str) -> None:
    env = built(name)
    check_env(env, skip_render_check=True)
    try:
        from stable_baselines3.common import env_checker
    except ImportError:
        return
    env_checker.check_env(env, warn=False, skip_render_check=True)
    env.close()


@pytest.mark.parametrize("name", SAMPLE)
def test_both_checks_pass(name: str) -> None:
    both_checks(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in registry().environments if not name.startswith("atari/")])
def test_both_checks_pass_for_all(name: str) -> None:
    both_checks(name)


@pytest.mark.parametrize("name", ["gymnasium/Pendulum-v1", "dmc/cartpole-park_left"])
def test_a_task_passes_both_checks_and_pays_its_own_reward(name: str) -> None:
    task = manyheads.load_task(name)
    env = task.make_environment(seed=1)
    check_env(env, skip_render_check=True)
    _, info = env.reset(seed=1)
    assert (info["task_reward"], info["simulator_reward"]) == (0.0, 0.0)
    rows, rewards = [info["signals"]], [0.0]
    for _ in range(20):
        _, reward, _, _, info = env.step(env.action_space.sample())
        assert reward == info["task_reward"]
        assert info["simulator_reward"] == info["signals"]["reward"]
        rows.append(info["signals"])
        rewards.append(reward)
    labels = task.reward.label({key: np.array([row[key] for row in rows]) for key in task.reward.signals})
    np.testing.assert_allclose(rewards, labels.reward, rtol=1e-6)
    env.close()


def test_episodes_of_a_task_end_where_the_task_ends(tmp_path: Path) -> None:
    file = tmp_path / "far.yaml"
    file.write_text(FAR)
    env = manyheads.load_task(file).make_environment(seed=2)
    env.reset()
    terminated = truncated = False
    while not (terminated or truncated):
        _, _, terminated, truncated, info = env.step(1)
    assert terminated
    assert 0.06 < abs(info["signals"]["cart_position"]) < 0.3


@pytest.mark.parametrize("kind", [gymnasium.vector.SyncVectorEnv, gymnasium.vector.AsyncVectorEnv])
def test_vector_environments(kind: Any) -> None:
    task = manyheads.load_task("gymnasium/CartPole-v1")
    environments = kind([task.make_environment] * 2)
    observations, infos = environments.reset(seed=3)
    assert observations.shape == (2, 4)
    _, rewards, _, _, infos = environments.step(environments.action_space.sample())
    assert rewards.tolist() == infos["task_reward"].tolist() == [1.0, 1.0]
    assert infos["signals"]["cart_position"].shape == (2,)
    environments.close()


def test_wrappers_and_recorders(tmp_path: Path) -> None:
    env = manyheads.load_task("gymnasium/CartPole-v1").make_environment()
    if find_spec("moviepy"):  # Gymnasium's own need
        env = gymnasium.wrappers.RecordVideo(env, str(tmp_path), disable_logger=True)
    env = gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.wrappers.AddRenderObservation(env, render_only=True))
    observation, _ = env.reset(seed=0)
    assert observation.shape == (400, 600, 3)
    done, info = False, {}
    while not done:
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        done = terminated or truncated
    assert info["episode"]["r"] == info["episode"]["l"] > 5
    env.close()
    assert [*tmp_path.glob("*.mp4")] or not find_spec("moviepy")


def test_an_environments_spec_makes_it_again() -> None:
    env = manyheads.make("gymnasium/Pendulum-v1", action_repeat=2)
    assert env.spec is not None
    again = env.spec.make()
    first, other = (each.reset(seed=5)[0] for each in (env, again))
    np.testing.assert_array_equal(first, other)
    action = np.array([0.5], np.float32)
    np.testing.assert_array_equal(env.step(action)[0], again.step(action)[0])
    assert "signals" in again.reset(seed=5)[1]
    pickle.dumps(manyheads.load_task("gymnasium/Pendulum-v1").make_environment)
