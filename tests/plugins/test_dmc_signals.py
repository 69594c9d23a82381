"""The tables of signals against the models that they describe."""

from functools import cache

import mujoco
import numpy as np
import pytest

from manyheads_dmc.domains import TASKS, options
from manyheads_dmc.measures import At, Meter
from manyheads_dmc.signals import TABLES
from manyheads_dmc.simulator import Simulator

ALL = [(domain, task) for domain, tasks in TASKS.items() for task in tasks]
LIGHT = [(domain, task) for domain, task in ALL if domain not in ("dog", "humanoid_CMU", "stacker")]
LIGHT += [("dog", "fetch"), ("humanoid_CMU", "stand"), ("stacker", "stack_4")]


@cache
def simulator(domain, task):
    return Simulator(domain, options(domain)(task=task))


def measured(domain, task, change=None):
    """The signals of a reset state, changed by `change(physics)`."""
    env = simulator(domain, task)
    env.reset(seed=0)
    with env.physics.reset_context():
        if change:
            change(env.physics)
    return Meter(TABLES[domain](task), env.physics)()


@pytest.mark.parametrize(("domain", "task"), ALL)
def test_a_table_is_small_and_says_what_it_measures(domain, task):
    signals = [measure.signal for measure in TABLES[domain](task)]
    names = [signal.name for signal in signals]
    assert len(names) == len(set(names)) <= 63, "64 numbers a step, the reward among them"
    assert all(len(signal.description) > 10 for signal in signals)


@pytest.mark.parametrize(("domain", "task"), LIGHT)
def test_ranges_are_the_model_s_own(domain, task):
    model = simulator(domain, task).physics.model.ptr
    controls = []
    for measure in TABLES[domain](task):
        signal, source = measure.signal, measure.source
        if isinstance(source, At) and source.array == "qpos":
            joint = model.joint(source.name)
            limited = bool(joint.limited[0])
            assert signal.soft == limited, signal.name
            hinge = joint.type[0] == mujoco.mjtJoint.mjJNT_HINGE
            assert signal.unit == ("rad" if hinge else "m"), signal.name
            if limited:
                np.testing.assert_allclose((signal.low, signal.high), joint.range, atol=6e-4, err_msg=signal.name)
        if isinstance(source, At) and source.array == "ctrl":
            controls.append(source.name)
            actuator = model.actuator(source.name)
            if actuator.ctrllimited[0]:
                np.testing.assert_allclose((signal.low, signal.high), actuator.ctrlrange, err_msg=signal.name)
            assert signal.name == f"control[{actuator.id}]"
        if isinstance(source, At) and source.array == "sensordata":
            kind = mujoco.mjtSensor(model.sensor(source.name).type[0])
            assert signal.unit == SENSOR_UNITS[kind], signal.name
    assert len(controls) == model.nu


SENSOR_UNITS = {
    mujoco.mjtSensor.mjSENS_SUBTREELINVEL: "m/s",
    mujoco.mjtSensor.mjSENS_VELOCIMETER: "m/s",
    mujoco.mjtSensor.mjSENS_GYRO: "rad/s",
    mujoco.mjtSensor.mjSENS_JOINTVEL: "rad/s",
    mujoco.mjtSensor.mjSENS_TOUCH: "N",
}


METHODS = {
    ("walker", "run"): {
        "torso_upright": "torso_upright",
        "torso_height": "torso_height",
        "horizontal_velocity": "horizontal_velocity",
    },
    ("cheetah", "run"): {"speed": "speed"},
    ("hopper", "hop"): {"height": "height", "speed": "speed"},
    ("cartpole", "swingup"): {"cart_position": "cart_position"},
    ("acrobot", "swingup"): {"tip_to_target_distance": "to_target"},
    ("ball_in_cup", "catch"): {"in_target": "in_target", "ball_to_cup": "ball_to_target"},
    ("finger", "turn_easy"): {
        "hinge_velocity": "hinge_velocity",
        "tip_position": "tip_position",
        "target_position": "target_position",
    },
    ("pendulum", "swingup"): {"pole_angle_cosine": "pole_vertical", "pole_angular_velocity": "angular_velocity"},
    ("reacher", "easy"): {"finger_to_target": "finger_to_target", "finger_to_target_distance": "finger_to_target_dist"},
    ("humanoid", "walk"): {
        "head_height": "head_height",
        "torso_upright": "torso_upright",
        "center_of_mass_velocity": "center_of_mass_velocity",
    },
    ("humanoid_CMU", "stand"): {"head_height": "head_height", "torso_upright": "thorax_upright"},
    ("fish", "swim"): {"upright": "upright", "mouth_to_target": "mouth_to_target"},
    ("swimmer", "swimmer6"): {"nose_to_target": "nose_to_target", "nose_to_target_distance": "nose_to_target_dist"},
    ("point_mass", "easy"): {"mass_to_target_distance": "mass_to_target_dist"},
    ("dog", "fetch"): {"forward_velocity": "com_forward_velocity", "ball_to_mouth_distance": "ball_to_mouth_distance"},
    ("quadruped", "walk"): {"torso_upright": "torso_upright"},
}


@pytest.mark.parametrize(("domain", "task"), METHODS)
def test_signals_are_what_the_suite_s_physics_says(domain, task):
    env = simulator(domain, task)
    env.reset(seed=3)
    rng = np.random.default_rng(0)
    for _ in range(5):
        *_, info = env.step(rng.uniform(-1, 1, env.action_space.shape))
        for name, method in METHODS[domain, task].items():
            value = np.ravel(getattr(env.physics, method)())
            keys = [name] if len(value) == 1 else [f"{name}[{i}]" for i in range(len(value))]
            np.testing.assert_array_equal([info["signals"][key] for key in keys], value, err_msg=name)


def bend(joint, by=0.3):
    def change(physics):
        physics.named.data.qpos[joint] += by

    return change


@pytest.mark.parametrize(
    ("domain", "task", "joint", "signal", "grows"),
    [
        ("cartpole", "balance", "slider", "cart_position", True),
        ("acrobot", "swingup", "shoulder", "tip_position", True),
        ("pendulum", "swingup", "hinge", "tip_position", True),
        ("reacher", "easy", "shoulder", "finger_position[1]", True),
        ("ball_in_cup", "catch", "ball_z", "ball_height", True),
        ("ball_in_cup", "catch", "ball_z", "ball_to_cup[1]", False),
        ("finger", "spin", "hinge", "tip_position[0]", False),
        ("walker", "walk", "right_hip", "right_foot_height", True),
        ("hopper", "stand", "ankle", "foot_height", False),
        ("manipulator", "bring_ball", "arm_root", "hand_position", False),
        ("quadruped", "walk", "pitch_front_left", "toe_height_front_left", False),
        ("stacker", "stack_2", "box1_z", "box_height[1]", True),
    ],
)
def test_directions_are_as_said(domain, task, joint, signal, grows):
    """From the models' rest, one joint moved: the measured place goes the way that the sentences say."""
    rest, moved = measured(domain, task), measured(domain, task, bend(joint))
    assert (moved[signal] > rest[signal]) == grows
    assert moved[signal] != rest[signal]


def test_a_leaning_pole_has_the_sign_of_its_side():
    def lean(physics):
        physics.named.data.qpos["hinge_1"] = 2 * np.pi + 0.4

    signals = measured("cartpole", "balance", lean)
    assert signals["pole_angle"] == pytest.approx(0.4), "turns are wrapped"
    env = simulator("cartpole", "balance")
    assert env.physics.named.data.geom_xpos["pole_1", "x"] > 0, "positive leans to the right"
    assert signals["pole_angle_cosine"] == pytest.approx(np.cos(0.4))


def test_a_hanging_pole_is_at_pi():
    def hang(physics):
        physics.named.data.qpos["hinge_1"] = -np.pi

    assert measured("cartpole", "balance", hang)["pole_angle"] == pytest.approx(np.pi)


def test_chains_of_poles_are_numbered():
    names = [measure.signal.name for measure in TABLES["cartpole"]("three_poles")]
    assert {"pole_angle[0]", "pole_angle_cosine[2]", "pole_angular_velocity[1]"} < set(names)


def test_controls_are_clipped_and_zero_at_a_start():
    env = simulator("finger", "spin")
    _, info = env.reset(seed=0)
    assert (info["signals"]["control[0]"], info["signals"]["control[1]"]) == (0, 0)
    *_, info = env.step(np.array([7.0, -0.25]))
    assert (info["signals"]["control[0]"], info["signals"]["control[1]"]) == (1, -0.25)
