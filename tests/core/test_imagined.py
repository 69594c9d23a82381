"""A world as an environment: Gymnasium's and Stable-Baselines3's checkers, seeds, ends, and what it says of itself."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from small_worlds import train

import manyheads
from manyheads.environment.adapter import FlatEnv
from manyheads.environment.unflatten import ObservationUnflattener
from manyheads.errors import ManyheadsError
from manyheads.imagined_env.disagreement import Disagreement
from manyheads.storage.agent import LoadedWorld

PENDULUM = "gymnasium/Pendulum-v1-swingup"
UPRIGHT = """
version: 1
environment: gymnasium/Pendulum-v1
reward:
  source: spec
  spec:
    version: 1
    goal: Point up.
    environment: gymnasium/Pendulum-v1
    reward: {x: {signal: pole_angle_cosine}, to: {shape: ramp, low: -1.0, high: 1.0}}
episode_steps: 12
goal: Point up.
"""
PICTURED = """
version: 1
environment: dmc/pendulum
options: {image_size: 16, action_repeat: 4}
reward: {source: environment}
episode_steps: 20
goal: Stay up.
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("imagined") / "world", PENDULUM, steps=120)


@pytest.fixture(scope="module")
def loaded(world: Path) -> LoadedWorld:
    """The world, in which episodes end by their length alone: so little training leaves that open."""
    loaded = manyheads.load(world)
    for readout in loaded.model.readouts.values():
        with torch.no_grad():
            readout.continues.bias.fill_(50)
    return loaded


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictured")
    (folder / "stay.yaml").write_text(PICTURED)
    return train(folder / "world", folder / "stay.yaml", steps=60, settings=("world.depth=2",))


def rollout(env: gymnasium.Env, seed: int, steps: int = 5) -> list[np.ndarray]:
    observation, _ = env.reset(seed=seed)
    env.action_space.seed(seed)
    rows = [observation]
    for _ in range(steps):
        observation, reward, _, _, info = env.step(env.action_space.sample())
        rows.append(np.append(observation, [reward, info["disagreement"]]))
    return rows


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_both_checkers_pass(world: Path, pictured: Path) -> None:
    sb3 = pytest.importorskip("stable_baselines3.common.env_checker")
    for folder, task in ((world, PENDULUM), (pictured, "stay")):
        for check in (check_env, sb3.check_env):
            check(manyheads.imagined(folder, task, members=2))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["gymnasium/Pendulum-v1", "dmc/cartpole", "minigrid/Empty-5x5-v0"])
def test_environments_of_the_platform_pass_both_checkers(name: str) -> None:
    if manyheads.registry.registry().environments[name].missing():
        pytest.skip("not installed")
    sb3 = pytest.importorskip("stable_baselines3.common.env_checker")
    check_env(manyheads.make(name), skip_render_check=True)
    sb3.check_env(manyheads.make(name))


def test_equal_seeds_give_equal_episodes_and_others_do_not(loaded: LoadedWorld) -> None:
    env = manyheads.imagined(loaded, PENDULUM)
    first, again, other = (rollout(env, seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[-1], other[-1])


def test_a_vector_environment_holds_what_single_ones_do(loaded: LoadedWorld) -> None:
    envs, env = manyheads.imagined(loaded, PENDULUM, num_envs=3), manyheads.imagined(loaded, PENDULUM)
    seen, _ = envs.reset(seed=7)
    actions = np.array([[0.5], [-1.0], [2.0]], np.float32)
    for _ in range(4):
        seen, reward, _, _, infos = envs.step(actions)
    for number in range(3):
        own, _ = env.reset(seed=7 + number)
        for _ in range(4):
            own, pay, _, _, info = env.step(actions[number])
        np.testing.assert_allclose(seen[number], own, atol=1e-5)
        assert reward[number] == pytest.approx(pay, abs=1e-5)
        assert infos["disagreement"][number] == pytest.approx(info["disagreement"], rel=1e-3)


def test_episodes_that_are_over_begin_again(loaded: LoadedWorld, tmp_path: Path) -> None:
    (tmp_path / "up.yaml").write_text(UPRIGHT)
    envs = manyheads.imagined(loaded, tmp_path / "up.yaml", num_envs=2, members=0)
    envs.reset(seed=0)
    for step in range(1, 14):
        _, reward, terminated, truncated, infos = envs.step(envs.action_space.sample())
        assert truncated.all() == (step == 12)
        assert not terminated.any()
    assert (reward == 0).all()
    assert "disagreement" not in infos


def test_a_reward_of_signals_is_computed_from_the_predicted_ones(world: Path, tmp_path: Path) -> None:
    (tmp_path / "up.yaml").write_text(UPRIGHT)
    env = manyheads.imagined(world, tmp_path / "up.yaml", members=0)
    env.reset(seed=1)
    for _ in range(3):
        _, reward, _, _, info = env.step(env.action_space.sample())
        expected = manyheads.load_task(tmp_path / "up.yaml").reward.label(
            {"pole_angle_cosine": np.array([0.0, info["signals"]["pole_angle_cosine"]])}
        )
        assert reward == pytest.approx(float(expected.reward[1]))


def test_an_episode_ends_where_the_world_expects_its_end(world: Path) -> None:
    env = manyheads.imagined(world, PENDULUM, members=0)
    [readout] = env._episodes.world.readouts.values()
    env.reset(seed=0)
    with torch.no_grad():
        readout.continues.bias.fill_(50)
    assert not env.step(np.zeros(1, np.float32))[2]
    with torch.no_grad():
        readout.continues.bias.fill_(-50)
    assert env.step(np.zeros(1, np.float32))[2]


def test_pictures_are_shown_as_decoded(pictured: Path) -> None:
    env = manyheads.imagined(pictured, "stay", members=0)
    observation, _ = env.reset(seed=0)
    assert env.render().shape == (16, 16, 3)
    assert any(np.array_equal(part, env.render()) for part in observation.values())
    envs = manyheads.imagined(pictured, "stay", num_envs=2, members=0)
    envs.reset(seed=0)
    assert [picture.shape for picture in envs.render()] == [(16, 16, 3)] * 2


def test_disagreement_is_larger_where_nothing_was_recorded(world: Path) -> None:
    loaded = manyheads.load(world)
    replay, task = loaded.folder.replay(read_only=True), loaded.folder.task(PENDULUM)
    disagreement = Disagreement(loaded.model, replay, task.instance.dynamics_key, 5, 0)
    known = loaded.model.initial(64)
    strange = known._replace(deter=torch.full_like(known.deter, 3.0))
    action = torch.zeros(64, 1)
    assert disagreement(strange, action + 30).mean() > 5 * disagreement(known, action).mean()


def test_without_a_replay_episodes_start_in_the_simulator(world: Path, tmp_path: Path) -> None:
    import shutil

    bare = shutil.copytree(world, tmp_path / "bare", ignore=shutil.ignore_patterns("replay"))
    env = manyheads.imagined(bare, PENDULUM)
    seen, _ = env.reset(seed=5)
    assert "disagreement" not in env.step(np.zeros(1, np.float32))[-1]
    assert env.observation_space.contains(seen)


def test_what_cannot_be_imagined_is_said(world: Path) -> None:
    with pytest.raises(ManyheadsError, match="does not know gymnasium/CartPole-v1"):
        manyheads.imagined(world, "gymnasium/CartPole-v1-balance")
    with pytest.raises(ManyheadsError, match="num_envs=0: expected at least 1"):
        manyheads.imagined(world, PENDULUM, num_envs=0)
    with pytest.raises(ManyheadsError, match="one predictor can't disagree"):
        manyheads.imagined(world, PENDULUM, members=1)
    with pytest.raises(ManyheadsError, match="call it before the first `step`"):
        manyheads.imagined(world, PENDULUM, members=0).step(np.zeros(1, np.float32))


SPACES = {
    "position": gymnasium.spaces.Box(-2, 3, (2, 2), np.float32),
    "gear": gymnasium.spaces.Discrete(3, start=1),
    "switches": gymnasium.spaces.MultiBinary(3),
    "dials": gymnasium.spaces.MultiDiscrete([2, 4]),
    "levels": gymnasium.spaces.Box(0, 9, (2,), np.int64),
    "pair": gymnasium.spaces.Tuple((gymnasium.spaces.Discrete(2), gymnasium.spaces.Box(-1, 1, (1,), np.float32))),
}


class Echo(gymnasium.Env):
    """Shows a sample of its space, takes actions of the same space."""

    observation_space = action_space = gymnasium.spaces.Dict(SPACES)


def test_observations_and_actions_of_any_space_come_back_from_flat_rows() -> None:
    env = FlatEnv(Echo(), ())
    unflatten = ObservationUnflattener(env.observe)
    assert unflatten.space == Echo.observation_space
    Echo.observation_space.seed(0)
    for _ in range(20):
        sample = Echo.observation_space.sample()
        image, vector = env.observe(sample)
        again = unflatten(image, vector)
        assert gymnasium.utils.env_checker.data_equivalence(sample, again)
        assert Echo.observation_space.contains(again)
        flat = env.act.flatten(sample)
        np.testing.assert_allclose(env.act.flatten(env.act(flat)), flat, atol=1e-6)
