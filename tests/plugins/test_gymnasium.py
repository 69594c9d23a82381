"""Gymnasium's registry as environments, and the names of what classic control measures."""

import math
import os
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import registry as ids
from gymnasium.utils.env_checker import check_env

import manyheads
import manyheads_gymnasium
from manyheads.environment.adapter import FlatEnv
from manyheads.environment.contract import Environment
from manyheads.errors import ManyheadsError
from manyheads.experience.subproc_vector_env import SubprocVectorEnv
from manyheads.experience.vector_env import EnvSlot
from manyheads.registry import registry as manyheads_registry
from manyheads.testing import check_environment
from manyheads_gymnasium import ids as ids_module

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


def test_pictures_can_be_observed_next_to_the_vector():
    small = instance("Pendulum-v1", image_size=32)
    check_environment(small, steps=5)
    adapted = FlatEnv(small.make(), small.signals)
    row = adapted.reset(seed=0)
    assert adapted.layout.image == row.image.shape == (32, 32, 3)
    assert row.image.std() > 1
    assert adapted.layout.shared().vector == ("observation[0]", "observation[1]", "observation[2]")


# Ids of every form, and options of every id.


class Dots(gymnasium.Env):
    """Observes a picture and numbers; takes no render_mode."""

    observation_space = spaces.Dict(
        {"eye": spaces.Box(0, 255, (40, 56, 3), np.uint8), "at": spaces.Tuple((spaces.Box(-9, 9, (1,), np.float32),))}
    )
    action_space = spaces.Discrete(2)

    def __init__(self, step=1.0):
        self.size = step

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = 0.0
        return self.see(), {}

    def step(self, action):
        self.x += self.size if action == 1 else -self.size
        return self.see(), 1.0, abs(self.x) >= 8, False, {}

    def see(self):
        eye = np.full((40, 56, 3), (100 + 10 * int(self.x), 50, 0), np.uint8)
        return {"eye": eye, "at": (np.array([self.x], np.float32),)}


class Watched(gymnasium.Wrapper):
    """A wrapper as an entry point."""

    def __init__(self, **arguments):
        super().__init__(Dots(**arguments))


def make_dots(**arguments):
    return Dots(**arguments)


@pytest.fixture(params=[Dots, make_dots, Watched, f"{__name__}:Dots"], ids=["class", "function", "wrapper", "path"])
def dots(request):
    """An id that a script registers after manyheads has read Gymnasium's registry."""
    gymnasium.register("test/Dots-v0", request.param)
    manyheads_gymnasium._found.cache_clear()
    yield "gymnasium/test/Dots-v0"
    del ids["test/Dots-v0"]
    manyheads_gymnasium._found.cache_clear()


def test_whatever_gymnasium_builds_works_and_keeps_both_checks(dots):
    check_env(manyheads.make(dots))
    check_environment(manyheads_registry().environments[dots].instance(), steps=10)
    assert manyheads.make(dots, kwargs={"step": 4.0}).unwrapped.size == 4.0


@pytest.mark.parametrize("id", ["CartPole-v1", "Pendulum-v1", "Blackjack-v1"])
def test_gymnasium_s_own_check_passes(id):
    check_env(manyheads.make(f"gymnasium/{id}"))


def flat(name, **options):
    instance = manyheads_registry().environments[name].instance(options)
    return FlatEnv(instance.make(), instance.signals)


def test_options_change_pictures_and_time(dots):
    env = flat(dots, image_size=32, grey=True, frame_stack=3, action_repeat=2, max_episode_steps=6)
    assert env.layout.image == (32, 32, 3)
    env.reset(seed=0)
    rows = [env.step([0.0, 1.0]) for _ in range(3)]
    assert [row.signals[0] for row, _, _ in rows] == [2.0, 2.0, 2.0]
    assert [last for _, last, _ in rows] == [False, False, True]
    oldest, _, newest = rows[-1][0].image[0, 0].astype(int)
    assert newest - oldest == pytest.approx(0.299 * 40, abs=1)
    assert rows[-1][0].vector.tolist() == [2.0, 4.0, 6.0]
    assert flat(dots).layout.image == (48, 64, 3)
    assert flat(dots, observation_keys={"eye": "drop"}).layout.image is None


def test_an_option_that_an_id_can_not_have_is_refused(dots):
    with pytest.raises(ManyheadsError, match=r"draws no pictures. Leave image_size out"):
        manyheads.make("gymnasium/CartPole-v1", image_size=16, kwargs={"render_mode": None})
    with pytest.raises(ManyheadsError, match=r"CartPole-v1 observes no picture. Leave grey out"):
        manyheads.make("gymnasium/CartPole-v1", grey=True)
    with pytest.raises(ManyheadsError, match=r"does not build: TypeError: .*colour"):
        manyheads.make(dots, kwargs={"colour": 1})


def test_options_at_their_defaults_leave_keys_as_they_were():
    assert instance("CartPole-v1").key == 'gymnasium/CartPole-v1 {"image_size": null}'
    repeated = instance("CartPole-v1", action_repeat=2)
    assert repeated.key == 'gymnasium/CartPole-v1 {"action_repeat": 2, "image_size": null}'


MODULE = """
import gymnasium
from gymnasium.envs.classic_control import PendulumEnv
gymnasium.register("{name}/Swing-v0", lambda **arguments: PendulumEnv(**arguments), max_episode_steps=5)
"""


def test_a_module_registers_its_id_also_in_worker_processes(tmp_path, monkeypatch):
    (tmp_path / "swings.py").write_text(MODULE.format(name="swings"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("MANYHEADS_ALLOW_MODULES", "swings")
    name = "gymnasium/swings:swings/Swing-v0"
    env = manyheads.make(name)
    env.reset(seed=0)
    instance = manyheads_registry().environments[name].instance()
    slot = EnvSlot(instance)
    workers = SubprocVectorEnv([slot, slot], flat(name).layout, 2)
    try:
        workers.step_async([1, 2], np.zeros((2, 1), np.float32))
        assert workers.step_wait().vector.shape == (2, 3)
    finally:
        workers.close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:X-v0", "the module 'no_such_module' does not import: ModuleNotFoundError"),
        ("gymnasium:CartPool-v1", "no environment named 'gymnasium/gymnasium:CartPool-v1'"),
        ("CartPool-v1", r"no environment named 'gymnasium/CartPool-v1'. Did you mean gymnasium/CartPole-v1"),
        ("Ant-v2", "no environment named 'gymnasium/Ant-v2'. Did you mean gymnasium/Ant-v"),
    ],
)
def test_an_id_that_is_not_there_is_said(name, message, monkeypatch):
    monkeypatch.setenv("MANYHEADS_ALLOW_MODULES", "no_such_module")
    with pytest.raises(ManyheadsError, match=message):
        manyheads.make(f"gymnasium/{name}")


def test_pygame_draws_without_a_screen_and_not_under_the_driver_that_simulators_leave_blank():
    pytest.importorskip("pygame")
    code = "import manyheads_gymnasium.simulator, pygame; pygame.display.set_mode((8, 8)); " + (
        "print(pygame.display.get_driver())"
    )
    bare = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "SDL_VIDEODRIVER")}
    drawn = subprocess.run([sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=True)
    assert drawn.stdout.split()[-1] == "offscreen"


def test_a_window_of_pygame_that_is_closed_leaves_mujoco_drawing():
    pygame = pytest.importorskip("pygame")
    pendulum = instance("InvertedPendulum-v5", image_size=16)
    before = FlatEnv(pendulum.make(), pendulum.signals).reset(seed=0).image
    pygame.display.init()
    pygame.display.set_mode((8, 8))
    pygame.display.flip()
    pygame.display.quit()
    after = FlatEnv(pendulum.make(), pendulum.signals).reset(seed=0).image
    assert before.std() > 1
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("ask", [manyheads.make, manyheads.load_task])
def test_an_unknown_id_is_told_how_ids_of_packages_are_called(ask):
    with pytest.raises(ManyheadsError, match=r"An id that a package registers as it is imported is called .*MODULE:ID"):
        ask("gymnasium/FlappyBird-v0")


def test_packages_that_announce_ids_are_asked_for_them(tmp_path, monkeypatch):
    (tmp_path / "announcing.py").write_text(
        "def register():\n    import gymnasium\n    gymnasium.register('announced/Swing-v0', "
        "'gymnasium.envs.classic_control:PendulumEnv')\n"
    )
    info = tmp_path / "announcing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: announcing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[gymnasium.envs]\nannounced = announcing:register\nbroken = no_such_module:register\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    ids_module._load_announced.cache_clear()
    assert manyheads.make("gymnasium/announced/Swing-v0").observation_space.shape == (3,)


def test_every_id_is_there_but_those_that_moved_away():
    own = {id for id, spec in ids.items() if callable(spec.entry_point) or spec.entry_point.startswith("gymnasium.")}
    own -= {"announced/Swing-v0", "swings/Swing-v0"}  # of tests above
    left_out = {id for id in own if f"gymnasium/{id}" not in ENVIRONMENTS}
    assert all(callable(ids[id].entry_point) for id in left_out)
    assert {f"gymnasium/{id}" for id in NAMED} < set(ENVIRONMENTS)
    assert "Ant-v2" in left_out


def test_ids_that_another_plugin_offers_are_left_to_it():
    pytest.importorskip("minigrid")
    found = []
    manyheads_gymnasium.register_environments(lambda environment: found.append(environment.name))
    assert "MiniGrid-Empty-5x5-v0" in ids
    assert not [name for name in found if "MiniGrid" in name or "BabyAI" in name]
    assert set(ENVIRONMENTS) <= set(found)


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
