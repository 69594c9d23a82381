"""The published dm_control rewards as specifications: equal to the simulator's `get_reward`, to 1e-6."""

from pathlib import Path

import numpy as np
import pytest

import manyheads_tasks

pytest.importorskip("dm_control")

from manyheads.rewards.sources import load_spec
from manyheads.task import load_task
from manyheads_dmc.measures import Meter
from manyheads_dmc.signals import TABLES

FOLDER = Path(manyheads_tasks.__file__).parent / "dmc"
# fmt: off
PROPRIO = [
    "acrobot-swingup", "ball_in_cup-catch", "cartpole-balance", "cartpole-balance_sparse",
    "cartpole-swingup", "cartpole-swingup_sparse", "cheetah-run", "finger-spin", "finger-turn_easy",
    "finger-turn_hard", "hopper-hop", "hopper-stand", "pendulum-swingup", "reacher-easy",
    "reacher-hard", "walker-run", "walker-stand", "walker-walk",
]
# fmt: on
STATES = 150


def test_all_published_tasks_are_packaged():
    vision = [*PROPRIO, "quadruped-run", "quadruped-walk"]
    assert all((FOLDER / f"{name}.yaml").exists() for name in vision)
    assert {file.stem for file in FOLDER.glob("*_spec.yaml")} == {f"{name}_spec" for name in PROPRIO}


@pytest.mark.parametrize("name", PROPRIO)
def test_the_specification_is_the_simulators_reward(name):
    domain, task = name.split("-")
    instance = load_task(f"dmc/{name}").instance
    repeat_one = instance.environment.instance({"task": task, "action_repeat": 1})
    simulator = repeat_one.environment.factory(repeat_one.options)
    meter = Meter(TABLES[domain](task), simulator.physics)
    random = np.random.default_rng(7)
    rows, rewards = [], []

    def note():
        rows.append(meter())
        rewards.append(float(simulator.suite.task.get_reward(simulator.physics)))

    simulator.reset(seed=1)
    for _ in range(STATES):
        reward = simulator.step(random.uniform(-1, 1, simulator.action_space.shape))[1]
        note()
        assert reward == rewards[-1]
    place = PLACES[domain](simulator.physics, random)
    for i in range(STATES):
        with simulator.physics.reset_context():
            place(i)
        simulator.physics.set_control(random.uniform(-1, 1, simulator.action_space.shape))
        note()

    columns = {signal: np.array([row[signal] for row in rows]) for signal in rows[0]}
    source = load_spec(FOLDER / f"{name}_spec.yaml")
    labelled = source.label(columns, np.zeros(len(rows), bool)).reward
    np.testing.assert_allclose(labelled, rewards, rtol=0, atol=1e-6)
    assert np.mean(np.array(rewards) > 0) >= 0.1
    assert np.std(rewards) > 0.01


# --- states inside and at the edges of what is rewarded --------------------------------------------------


def acrobot(physics, random):
    def place(i):
        physics.named.data.qpos[["shoulder", "elbow"]] = random.normal(size=2) * (0.02, 0.1, 0.5)[i % 3]

    return place


def ball_in_cup(physics, random):
    offset = physics.ball_to_target() + physics.named.data.qpos[["ball_x", "ball_z"]]
    room = physics.named.model.site_size["target", [0, 2]] - physics.named.model.geom_size["ball", 0]
    offset = offset - physics.named.data.qpos[["cup_x", "cup_z"]]

    def place(i):
        cup = random.uniform(-0.1, 0.1, 2)
        away = room * (random.uniform(-1.5, 1.5, 2) if i % 2 else random.choice([-1, -1 + 1e-9, 1 - 1e-9, 1], 2))
        physics.named.data.qpos[["cup_x", "cup_z"]] = cup
        physics.named.data.qpos[["ball_x", "ball_z"]] = offset + cup - away

    return place


def cartpole(physics, random):
    edge = np.arccos(0.995)

    def place(i):
        physics.named.data.qpos["slider"] = (random.normal() / 4, -0.25, 0.25, 0.25 + 1e-9)[i % 4]
        physics.named.data.qpos["hinge_1"] = (random.normal() / 10, edge - 1e-9, edge + 1e-9)[i % 3]
        physics.data.qvel[:] = random.normal(size=2) * (0.0, 3.0)[i % 2]

    return place


def cheetah(physics, random):
    def place(i):
        physics.named.data.qvel["rootx"] = (random.uniform(-2, 12), 10.0, 1e-9)[i % 3]

    return place


def finger(physics, random):
    turns = np.linspace(-np.pi, np.pi, 400)
    has_target = "target" in physics.named.model.site_size.axes.row.names
    distances = []
    for turn in turns:
        physics.named.data.qpos["hinge"] = turn
        physics.forward()
        distances.append(physics.dist_to_target() if has_target else 0)
    nearest = turns[np.argmin(distances)]

    def place(i):
        physics.named.data.qpos["hinge"] = nearest + random.normal() * (0.1, 0.3, 0.6)[i % 3]
        physics.named.data.qvel["hinge"] = (random.uniform(-25, 0), -15.0, -15.0 + 1e-9)[i % 3]

    return place


def hopper(physics, random):
    def place(i):
        joints = ["waist", "hip", "knee", "ankle"]
        low, high = physics.named.model.jnt_range[joints].T
        physics.named.data.qpos[joints] = random.uniform(low, high) * (0.2, 0.6, 1.0)[i % 3]
        physics.named.data.qvel["rootx"] = (random.uniform(-1, 4), 2.0, 1.0)[i % 3]

    return place


def pendulum(physics, random):
    def place(i):
        physics.named.data.qpos["hinge"] = np.deg2rad((random.normal() * 10, 8 - 1e-6, 8 + 1e-6)[i % 3])

    return place


def reacher(physics, random):
    tries = random.uniform(-np.pi, np.pi, (2000, 2))
    distances = []
    for physics.named.data.qpos[["shoulder", "wrist"]] in tries:
        physics.forward()
        distances.append(physics.finger_to_target_dist())
    nearest = tries[np.argmin(distances)]

    def place(i):
        joints = nearest + random.normal(size=2) * (0.02, 0.1, 0.4)[i % 3]
        physics.named.data.qpos[["shoulder", "wrist"]] = joints

    return place


def walker(physics, random):
    def place(i):
        physics.named.data.qpos["rootz"] = (random.uniform(-0.8, 0.3), -0.1, -0.7)[i % 3]
        physics.named.data.qpos["rooty"] = random.normal() / 2
        physics.named.data.qvel["rootx"] = (random.uniform(-1, 9), 1.0, 0.5, 8.0, 4.0)[i % 5]

    return place


PLACES = {
    function.__name__: function
    for function in (acrobot, ball_in_cup, cartpole, cheetah, finger, hopper, pendulum, reacher, walker)
}
