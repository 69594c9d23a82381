"""The dm_control suite as environments: options, time, seeds, flags, pictures."""

import subprocess
import sys

import numpy as np
import pytest
from dm_control import suite

import manyheads_dmc
from manyheads.environment.adapter import FlatEnv
from manyheads.environment.contract import Environment
from manyheads.errors import ManyheadsError
from manyheads.testing import check_environment
from manyheads_dmc.domains import SAME_SIMULATOR, TASKS
from manyheads_dmc.pictures import POSES
from manyheads_dmc.signals import TABLES

ENVIRONMENTS: dict[str, Environment] = {}
manyheads_dmc.register_environments(lambda environment: ENVIRONMENTS.setdefault(environment.name, environment))
ALL = [(domain, task) for domain, tasks in TASKS.items() for task in tasks]


def instance(domain, **options):
    return ENVIRONMENTS[f"dmc/{domain}"].instance(options)


def rolled(built, actions, seed=0):
    """Rows of one episode under given actions."""
    env = FlatEnv(built.make(), built.signals)
    rows = [(env.reset(seed), False, False)]
    for action in actions:
        rows.append(env.step(action))
    env.close()
    return rows


def test_the_table_of_tasks_is_the_suite_s():
    assert sorted(ALL) == sorted(suite.ALL_TASKS)
    first = dict(reversed(suite.BENCHMARKING))
    assert {domain: TASKS[domain][0] for domain in first} == first
    assert list(TABLES) == list(TASKS)


def test_listing_imports_neither_the_suite_nor_torch():
    code = (
        "import sys, manyheads_dmc, manyheads_gymnasium\n"
        "found = []\n"
        "manyheads_dmc.register_environments(found.append)\n"
        "manyheads_gymnasium.register_environments(found.append)\n"
        "[environment.instance().signals for environment in found]\n"
        "assert len(found) > 50\n"
        "assert not {'dm_control', 'mujoco', 'torch', 'pygame'} & set(sys.modules), sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("domain", "options"),
    [
        ("cartpole", {}),
        ("cartpole", {"task": "swingup", "action_repeat": 3, "image_size": 16}),
        ("reacher", {"task": "hard", "image_size": 32, "vector": False}),
        ("walker", {"task": "run", "action_repeat": 2}),
        ("finger", {"task": "turn_easy"}),
        ("quadruped", {"task": "fetch"}),
    ],
)
def test_it_keeps_its_promises(domain, options):
    check_environment(instance(domain, **options), steps=4 if "image_size" in options else 30)


@pytest.mark.slow
@pytest.mark.parametrize(("domain", "task"), ALL)
def test_every_task_keeps_its_promises(domain, task):
    check_environment(instance(domain, task=task))


def test_options_are_a_closed_set():
    with pytest.raises(ManyheadsError, match="dmc/cartpole: option task='fly': Input should be 'balance'"):
        instance("cartpole", task="fly")
    with pytest.raises(ManyheadsError, match="nothing to observe; set image_size"):
        instance("cartpole", vector=False)
    with pytest.raises(ManyheadsError, match="dmc/cartpole: camera=7; it has cameras 0 to 1"):
        instance("cartpole", camera=7).make()


def test_observations_come_in_alphabetical_order():
    env = FlatEnv(instance("walker").make(), instance("walker").signals)
    keys = list(dict.fromkeys(name.partition("[")[0] for name in env.observe.names))
    assert keys == ["height", "orientations", "velocity"]
    assert env.layout.continuous == tuple(f"action[{i}]" for i in range(6))


def test_action_repeat_sums_rewards_and_shows_the_last_step():
    once, thrice = instance("cartpole"), instance("cartpole", action_repeat=3)
    actions = np.random.default_rng(0).uniform(-1, 1, (4, 1))
    slow = rolled(once, np.repeat(actions, 3, axis=0))
    fast = rolled(thrice, actions)
    for k in range(1, 5):
        inner = slow[3 * k - 2 : 3 * k + 1]
        np.testing.assert_allclose(fast[k][0].signals[0], sum(row[0].signals[0] for row in inner))
        np.testing.assert_array_equal(fast[k][0].vector, inner[-1][0].vector)
        np.testing.assert_array_equal(fast[k][0].signals[1:], inner[-1][0].signals[1:])


def test_the_time_limit_truncates_even_within_a_repeat():
    rows = rolled(instance("pendulum", action_repeat=16), np.zeros((63, 1)))
    assert [last for _, last, _ in rows] == [False] * 63 + [True]
    assert not any(terminal for _, _, terminal in rows)


def test_discount_zero_terminates():
    env = instance("lqr").make()
    env.reset(seed=0)
    with env.unwrapped.physics.reset_context():
        env.unwrapped.physics.data.qpos[:] = 0
    *_, terminated, truncated, _ = env.step(np.zeros(1, np.float32))
    assert (terminated, truncated) == (True, False)


def test_rewards_and_controls_are_the_suite_s_own():
    env = instance("quadruped", task="walk").make()
    env.reset(seed=0)
    for action in np.random.default_rng(1).uniform(-1, 1, (5, 12)).astype(np.float32):
        _, reward, *_, info = env.step(action)
        physics = env.unwrapped.physics
        assert reward == env.unwrapped.suite.task.get_reward(physics)
        assert [info["signals"][f"control[{i}]"] for i in range(12)] == physics.control().tolist()
    spec = env.unwrapped.suite.action_spec()
    env.step(np.ones(12, np.float32))
    np.testing.assert_allclose(env.unwrapped.physics.control(), spec.maximum)


HEAVY = {"dog", "humanoid_CMU"}


@pytest.mark.parametrize(
    "domain", [pytest.param(d, marks=pytest.mark.slow) if d in HEAVY else d for d in SAME_SIMULATOR]
)
def test_tasks_that_share_experience_share_dynamics_observations_and_signals(domain):
    built = [instance(domain, task=task) for task in sorted(SAME_SIMULATOR[domain])]
    assert len({each.dynamics_key for each in built}) == 1
    assert len({each.signals for each in built}) == 1
    envs = [each.make() for each in built]
    for env in envs:
        env.reset(seed=0)
    state = envs[0].unwrapped.physics.get_state()
    actions = np.random.default_rng(0).uniform(-1, 1, (5, *envs[0].action_space.shape)).astype(np.float32)
    ends = []
    for env in envs:
        physics = env.unwrapped.physics
        with physics.reset_context():
            physics.set_state(state)
            if domain == "reacher":
                physics.named.model.geom_pos["target"] = 0.1, 0.1, 0.01
        for action in actions:
            observation, *_, info = env.step(action)
        ends.append((observation, {**info["signals"], "reward": 0.0}))
    for observation, signals in ends[1:]:
        for key, part in ends[0][0].items():
            np.testing.assert_array_equal(part, observation[key])
        assert signals == ends[0][1]


def test_tasks_that_differ_in_more_do_not_share_experience():
    for domain, tasks in TASKS.items():
        keys = {task: instance(domain, task=task).dynamics_key for task in tasks}
        same = SAME_SIMULATOR.get(domain, frozenset())
        assert len(set(keys.values())) == len(tasks) - len(same) + bool(same)
    seen = [instance("reacher", task=task, image_size=64).dynamics_key for task in ("easy", "hard")]
    assert seen[0] != seen[1], "a picture shows the size of the target"


def test_rendering_gives_a_picture():
    env = instance("cheetah").make()
    env.reset(seed=0)
    picture = env.render()
    assert (picture.shape, picture.dtype) == ((240, 320, 3), np.uint8)
    assert picture.std() > 10


# --- pictures of observations ----------------------------------------------------------------------------------

EXACT = ["acrobot", "ball_in_cup", "cartpole", "finger", "lqr", "pendulum", "point_mass", "reacher"]
UP_TO_PLACE = {"cheetah": ["rootx"], "hopper": ["rootx"], "walker": ["rootx"], "swimmer": ["rootx", "rooty", "rootz"]}


def played(domain, task):
    built = instance(domain, task=task)
    env = FlatEnv(built.make(), built.signals)
    env.reset(seed=1)
    rng = np.random.default_rng(2)
    for _ in range(40):
        row, *_ = env.step(rng.uniform(-1, 1, env.layout.action_size))
    return env, row


@pytest.mark.parametrize(("domain", "task"), [("cartpole", "swingup"), ("reacher", "hard")])
def test_a_picture_of_an_observation_is_the_picture_of_its_state(domain, task):
    env, row = played(domain, task)
    before = env.env.unwrapped.physics.get_state()
    drawn = env.env.unwrapped.picture(row.vector).astype(int)
    assert (np.abs(drawn - env.render()).max(axis=-1) > 12).mean() < 0.002
    env.reset(seed=5)
    assert (np.abs(drawn - env.render()).max(axis=-1) > 12).mean() > 0.002, "another state has another picture"
    assert np.isfinite(before).all()


POSED = [*((domain, TASKS[domain][-1]) for domain in POSES), ("finger", "spin")]


@pytest.mark.parametrize(("domain", "task"), POSED)
def test_a_pose_from_an_observation_is_observed_as_it_was(domain, task):
    env, row = played(domain, task)
    simulator = env.env.unwrapped
    simulator.picture(row.vector)
    canvas, true = simulator._canvas._physics, simulator.physics
    free = UP_TO_PLACE.get(domain, [])
    assert free or domain in EXACT
    known = [i for i in range(true.model.njnt) if true.model.id2name(i, "joint") not in free]
    off = canvas.data.qpos[known] - true.data.qpos[known]
    turns = np.array([true.model.jnt_type[i] == 3 for i in known])
    off[turns] = np.angle(np.exp(1j * off[turns]))
    np.testing.assert_allclose(off, 0, atol=1e-5)
    observed, expected = (simulator.get_observation(physics) for physics in (canvas, true))
    for key in ("to_target", "target_position", "dist_to_target"):
        if key in expected:
            np.testing.assert_allclose(observed[key], expected[key], atol=1e-5)


def test_drawing_leaves_the_running_episode_alone():
    env, _ = played("cartpole", "swingup")
    state = env.env.unwrapped.physics.get_state().copy()
    env.env.unwrapped.picture(np.zeros(5, np.float32))
    np.testing.assert_array_equal(env.env.unwrapped.physics.get_state(), state)


def test_where_observations_do_not_tell_the_state_there_is_no_picture():
    built = instance("humanoid")
    env = FlatEnv(built.make(), built.signals)
    assert env.env.unwrapped.picture(env.reset(0).vector) is None
