"""Gymnasium's registry as environments, and the names of what classic control measures."""

import math

import numpy as np
import pytest
from gymnasium.envs.registration import registry as ids

import manyheads_gymnasium
from manyheads.environment.adapter import FlatEnv
from manyheads.environment.contract import Environment
from manyheads.errors import ManyheadsError
from manyheads.testing import check_environment

ENVIRONMENTS: dict[str, Environment] = {}
manyheads_gymnasium.register_environments(lambda environment: ENVIRONMENTS.setdefault(environment.name, environment))

NAMED = ["CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1", "Acrobot-v1"]
SPACES = ["Blackjack-v1", "Taxi-v4", "HalfCheetah-v5"]
"""a Tuple of Discrete, a Discrete, a Box observed and acted"""


def instance(id, **options):
    return ENVIRONMENTS[f"gymnasium/{id}"].instance(options)


def values(env, state, action=None):
    """The signals of a state, after a step where an action is given."""
    env.reset(seed=0)
    env.unwrapped.state = state if isinstance(state, tuple) else np.array(state)
    return env.step(action)[-1]["signals"]


@pytest.mark.parametrize("id", [*NAMED, *SPACES])
def test_it_keeps_its_promises(id):
    check_environment(instance(id))


def test_pictures_can_be_observed_beside_the_vector():
    small = instance("Pendulum-v1", image_size=32)
    check_environment(small, steps=5)
    adapted = FlatEnv(small.make(), small.signals)
    row = adapted.reset(seed=0)
    assert adapted.layout.image == row.image.shape == (32, 32, 3)
    assert row.image.std() > 1
    assert adapted.layout.vector == ("observation[0]", "observation[1]", "observation[2]")


def test_every_id_is_there_but_those_that_moved_away():
    own = {id for id in ids if str(ids[id].entry_point).partition(".")[0] not in manyheads_gymnasium.ELSEWHERE}
    left_out = {id for id in own if f"gymnasium/{id}" not in ENVIRONMENTS}
    assert all(callable(ids[id].entry_point) for id in left_out)
    assert {f"gymnasium/{id}" for id in NAMED} < set(ENVIRONMENTS)
    assert "Ant-v2" in left_out


def test_ids_that_another_plugin_offers_are_left_to_it():
    pytest.importorskip("minigrid")
    found = []
    manyheads_gymnasium.register_environments(lambda environment: found.append(environment.name))
    assert "MiniGrid-Empty-5x5-v0" in ids
    assert set(found) == set(ENVIRONMENTS)


def test_what_is_not_installed_is_named_with_its_extra():
    racing = ENVIRONMENTS["gymnasium/CarRacing-v3"]
    assert (racing.requires, racing.extra) == (("Box2D",), "box2d")
    if racing.missing():
        with pytest.raises(ManyheadsError, match=r"CarRacing-v3 needs Box2D.*manyheads\[box2d\]"):
            racing.instance().make()


def test_ids_without_names_tell_how_to_name_them():
    ant = ENVIRONMENTS["gymnasium/Ant-v5"]
    assert [signal.name for signal in ant.instance().signals] == ["reward"]
    assert "manyheads new plugin" in ant.goals_need
    assert ENVIRONMENTS["gymnasium/CartPole-v1"].goals_need == ""


# Signs, against the simulators' own rules.


def test_cartpole_pushed_right_goes_right_and_leans_left():
    signals = values(instance("CartPole-v1").make(), (0.5, 0.0, 0.0, 0.0), 1)
    assert signals["cart_position"] == 0.5
    assert signals["cart_velocity"] > 0
    assert signals["pole_angular_velocity"] < 0
    assert signals["pole_angle_cosine"] == pytest.approx(1.0)


def test_mountain_car_height_is_greatest_at_the_top():
    env = instance("MountainCarContinuous-v0").make()
    bottom, hill = (values(env, state, np.array([1.0], np.float32)) for state in ([-math.pi / 6, 0.0], [0.4, 0.05]))
    assert bottom["car_height"] == pytest.approx(0.1, abs=1e-3)
    assert hill["car_height"] > 0.95
    assert bottom["car_velocity"] > 0
    assert bottom["control[0]"] == 1.0


def test_pendulum_turns_left_for_a_positive_torque_and_its_picture_agrees():
    env = instance("Pendulum-v1").make()
    signals = values(env, [0.0, 0.0], np.array([1.0], np.float32))
    assert signals["pole_angle"] > 0
    assert signals["pole_angular_velocity"] > 0
    assert signals["control[0]"] == pytest.approx(0.5)
    env.unwrapped.state = np.array([math.pi / 2, 0.0])
    env.unwrapped.last_u = None
    red = np.argwhere(np.abs(env.render().astype(int) - [204, 77, 77]).sum(axis=-1) < 30)
    assert red[:, 1].mean() < 250, "a quarter turn to the left is drawn left of the middle"
    assert values(env, [3 * math.pi - 0.1, 0.0], np.array([0.0], np.float32))["pole_angle"] == pytest.approx(
        math.pi - 0.1, abs=0.1
    )


def test_acrobot_tip_is_high_when_it_stands():
    env = instance("Acrobot-v1").make()
    hanging, standing = (values(env, state, 1) for state in ([0.0, 0, 0, 0], [math.pi, 0, 0, 0]))
    assert hanging["tip_height"] == pytest.approx(-2)
    assert standing["tip_height"] == pytest.approx(2, abs=0.01)
    right = values(env, [math.pi / 2, 0, 0, 0], 1)
    assert right["tip_position"] == pytest.approx(2, abs=0.1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(ENVIRONMENTS))
def test_everything_that_builds_here_keeps_its_promises(name):
    built = ENVIRONMENTS[name].instance()
    if ENVIRONMENTS[name].missing():
        pytest.skip(f"{name} needs {', '.join(ENVIRONMENTS[name].missing())}")
    try:
        built.make().close()
    except ManyheadsError as error:
        pytest.skip(str(error))
    check_environment(built)
