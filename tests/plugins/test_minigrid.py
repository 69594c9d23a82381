"""MiniGrid and BabyAI as environments: the table of ids, options, what is seen, signals, missions, flags."""

import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from gymnasium.spaces import Discrete

import manyheads_minigrid
from manyheads.environment.adapter import FlatEnv
from manyheads.environment.contract import Environment
from manyheads.errors import ManyheadsError
from manyheads.testing import check_environment
from manyheads_minigrid.levels import COLORS, KINDS, LEVELS, full_id
from manyheads_minigrid.missions import WORDS, count_words

minigrid = pytest.importorskip("minigrid")

from gymnasium.envs.registration import registry as ids  # noqa: E402 (minigrid registers its ids first)
from minigrid.core.world_object import Ball, Box, Door, Key  # noqa: E402

ENVIRONMENTS: dict[str, Environment] = {}
manyheads_minigrid.register_environments(lambda environment: ENVIRONMENTS.setdefault(environment.name, environment))

LEFT, RIGHT, WALK, PICK_UP, DROP, TOGGLE, DONE = range(7)
SOME = [
    "Empty-5x5-v0",
    "DoorKey-8x8-v0",
    "Dynamic-Obstacles-6x6-v0",
    "LavaGapS5-v0",
    "RedBlueDoors-6x6-v0",
    "BabyAI-GoToRedBall-v0",
    "BabyAI-PutNextS5N2Carrying-v0",
    "BabyAI-MiniBossLevel-v0",
]


def instance(name, **options):
    return ENVIRONMENTS[f"minigrid/{name}"].instance(options)


def started(name, seed=0, **options):
    """An environment after its reset, minigrid's own state in it, and the first signals."""
    env = instance(name, **options).make()
    _, info = env.reset(seed=seed)
    return env, env.unwrapped.grid, info["signals"]


def doorkey():
    """A 5 x 5 grid: the agent stands at (1, 1) and looks right, a key lies ahead, a locked door two rows below."""
    env, grid, _ = started("DoorKey-5x5-v0")
    for place, cell in enumerate(grid.grid.grid):
        if cell is not None and cell.type in ("key", "door"):
            grid.grid.grid[place] = None
    grid.grid.set(2, 1, Key("red"))
    grid.grid.set(1, 3, Door("red", is_locked=True))
    grid.agent_pos, grid.agent_dir = (1, 1), 0
    return env, grid


# --- the table -------------------------------------------------------------------------------------------------


def test_every_id_is_in_the_table_but_those_made_from_pictures_that_are_not_packaged():
    registered = {id for id, spec in ids.items() if str(spec.entry_point).startswith("minigrid.")}
    assert registered - {full_id(name) for name in LEVELS} == {
        id for id in registered if id.startswith("MiniGrid-WFC-")
    }
    assert {full_id(name) for name in LEVELS} <= registered
    assert {"minigrid/Empty-5x5-v0", "minigrid/DoorKey-8x8-v0", "minigrid/BabyAI-GoToRedBall-v0"} < set(ENVIRONMENTS)


def test_the_table_tells_sizes_and_actions():
    for name, level in LEVELS.items():
        env = instance(name).make()
        grid = env.unwrapped.grid
        assert (grid.width, grid.height) == (level.width, level.height), name
        assert env.action_space == Discrete(level.actions), name


def kinds(grid):
    """The kinds of objects in a grid, in boxes and in the agent's hands."""
    found = set()
    for cell in [*grid.grid.grid, grid.carrying]:
        while cell is not None:
            found.add(cell.type)
            cell = cell.contains
    return found & set(KINDS)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEVELS)
def test_the_table_tells_what_there_is(name):
    env = instance(name).make()
    found, missions = set(), []
    for seed in range(60):
        missions.append(env.reset(seed=seed)[1]["mission"])
        found |= kinds(env.unwrapped.grid)
    assert found == set(LEVELS[name].kinds)
    assert all(count_words(mission).sum() == len(mission.replace(",", "").split()) for mission in missions)


def test_listing_imports_neither_minigrid_nor_torch():
    code = (
        "import sys, manyheads_minigrid\n"
        "found = []\n"
        "manyheads_minigrid.register_environments(found.append)\n"
        "[environment.instance().signals for environment in found]\n"
        "assert len(found) > 150\n"
        "assert not {'minigrid', 'torch', 'pygame'} & set(sys.modules), sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_minigrid_all_is_listed_and_making_says_what_to_install():
    code = (
        "import sys\n"
        "sys.modules['minigrid'] = None\n"
        "import manyheads\n"
        "from manyheads_minigrid import register_environments\n"
        "found = {}\n"
        "register_environments(lambda environment: found.setdefault(environment.name, environment))\n"
        "empty = found['minigrid/Empty-5x5-v0']\n"
        "assert empty.requires == ('minigrid',) and empty.instance().signals\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    hidden = Environment(**{**vars(ENVIRONMENTS["minigrid/Empty-5x5-v0"]), "requires": ("minigrid_that_is_not",)})
    with pytest.raises(ManyheadsError, match=r"Empty-5x5-v0 needs minigrid_that_is_not.*manyheads\[minigrid\]"):
        hidden.instance().make()


# --- promises --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOME)
def test_it_keeps_its_promises(name):
    check_environment(instance(name))


@pytest.mark.parametrize("options", [{"view": "codes"}, {"view": "pixels"}, {"agent_view_size": 5}])
def test_it_keeps_its_promises_with_options(options):
    check_environment(instance("DoorKey-5x5-v0", **options), steps=50)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEVELS)
def test_every_id_keeps_its_promises(name):
    for seed in range(3):
        check_environment(instance(name), seed=seed, steps=300)


def test_options_are_a_closed_set():
    with pytest.raises(ManyheadsError, match="agent_view_size=4: Input should be 3, 5, 7"):
        instance("Empty-5x5-v0", agent_view_size=4)
    with pytest.raises(ManyheadsError, match="view='words'"):
        instance("Empty-5x5-v0", view="words")


def test_a_new_mission_drawn_prints_nothing(capfd):
    env = instance("BabyAI-PutNextLocalS5N3-v0").make()
    for seed in range(40):
        env.reset(seed=seed)
    assert capfd.readouterr().out == ""


# --- what is seen ----------------------------------------------------------------------------------------------


def places(name, **options):
    built = instance(name, **options)
    return FlatEnv(built.make(), built.signals).layout


def test_a_cell_is_named_by_what_is_in_it():
    env, _ = doorkey()
    adapted = FlatEnv(env, instance("DoorKey-5x5-v0").signals)
    observation, *_ = env.step(DONE)
    _, row = adapted.observe(observation)
    value = dict(zip(adapted.observe.names, row, strict=True))
    ahead, own = 5 * 7 + 3, 6 * 7 + 3
    seen = {name for name, number in value.items() if number and name.endswith(f"[{ahead}]") and "view" in name}
    assert seen == {f"view7x7.key[{ahead}]", f"view7x7.red[{ahead}]"}
    assert value[f"view7x7.empty[{own}]"] == 1
    assert value["direction[0]"] == 1
    assert value[f"mission[{WORDS.index('the')}]"] == 3


def test_views_of_two_sizes_share_no_cells():
    small, usual = places("DoorKey-5x5-v0", agent_view_size=5), places("DoorKey-5x5-v0")
    assert {name.partition(".")[0] for name in set(small.vector) - set(usual.vector)} == {"minigrid/levels view5x5"}
    assert len(usual.vector) == 19 * 49 + 4 + len(WORDS)


def test_levels_share_their_places():
    assert places("Empty-5x5-v0") == places("BabyAI-BossLevel-v0")


@pytest.mark.parametrize("view", ["onehot", "codes"])
def test_an_observed_view_is_drawn_as_minigrid_draws_it(view):
    built = instance("BabyAI-MiniBossLevel-v0", view=view)
    adapted = FlatEnv(built.make(), built.signals)
    row = adapted.reset(seed=3)
    for action in np.eye(7)[np.random.default_rng(0).integers(0, 6, 30)]:
        row, *_ = adapted.step(action)
        grid = adapted.env.unwrapped.grid
        drawn = adapted.env.unwrapped.picture(row.vector)
        np.testing.assert_array_equal(drawn, grid.get_pov_render(len(drawn) // 7))


def test_pictures_have_the_size_asked_for():
    assert places("Empty-5x5-v0", view="pixels").image == (64, 64, 3)
    env, grid, _ = started("DoorKey-5x5-v0", view="pixels", image_size=96)
    observation = env.unwrapped.observation_space["image"]
    assert observation.shape == (96, 96, 3)
    assert env.unwrapped.picture(np.zeros(1)) is None
    assert grid.get_pov_render(10).shape == (70, 70, 3)


@pytest.mark.parametrize("name", ["Empty-5x5-v0", "BabyAI-BossLevel-v0"])
def test_rendering_gives_a_picture_of_the_whole_grid(name):
    env, grid, _ = started(name)
    picture = env.render()
    assert picture.dtype == np.uint8
    assert picture.shape == (grid.height * grid.tile_size, grid.width * grid.tile_size, 3)
    assert max(picture.shape) <= 512


def test_what_is_carried_at_the_start_is_seen_and_measured():
    env, grid, signals = started("BabyAI-PutNextS5N2Carrying-v0")
    observation, _ = env.reset(seed=0)
    assert signals["carrying"] == 1
    assert observation["view7x7"][grid.carrying.type][6, 3] == 1


# --- signals ---------------------------------------------------------------------------------------------------


def test_an_environment_measures_what_it_has():
    empty = {signal.name for signal in instance("Empty-5x5-v0").signals}
    assert {"agent_x", "facing_up", "goal_distance", "success", "steps"} < empty
    assert not {name for name in empty if "key" in name or "carrying" in name or "door" in name}
    assert "carrying_ball" not in {signal.name for signal in instance("Dynamic-Obstacles-5x5-v0").signals}
    ball = {signal.name for signal in instance("BabyAI-GoToRedBall-v0").signals}
    assert {"ball_offset_x", "facing_ball", "carrying_ball", *(f"facing_{color}" for color in COLORS)} < ball


def test_places_and_directions():
    env, grid = doorkey()
    signals = env.step(DONE)[-1]["signals"]
    assert (signals["agent_x"], signals["agent_y"], signals["facing_right"]) == (1, 1, 1)
    assert (signals["goal_offset_x"], signals["goal_offset_y"], signals["goal_distance"]) == (2, 2, 4)
    assert (signals["door_offset_x"], signals["door_offset_y"], signals["door_distance"]) == (0, 2, 2)
    turned = env.step(RIGHT)[-1]["signals"]
    assert (turned["facing_right"], turned["facing_down"]) == (0, 1)
    walked = env.step(WALK)[-1]["signals"]
    assert (walked["agent_y"], walked["door_distance"], walked["facing_door"]) == (2, 1, 1)
    assert walked["steps"] == grid.step_count == 3


def test_the_nearest_of_a_kind_is_measured():
    env, grid, _ = started("BabyAI-GoToRedBall-v0")
    for x, y in product(range(1, 7), repeat=2):
        grid.grid.set(x, y, None)
    grid.agent_pos, grid.agent_dir = (3, 3), 0
    grid.grid.set(6, 3, Ball("grey"))
    grid.grid.set(3, 1, Ball("blue"))
    signals = env.step(DONE)[-1]["signals"]
    assert (signals["ball_offset_x"], signals["ball_offset_y"], signals["ball_distance"]) == (0, -2, 2)
    assert (signals["box_present"], signals["box_distance"], signals["box_offset_x"]) == (0, 12, 0)


def test_carrying_and_doors():
    env, grid = doorkey()
    facing = env.step(DONE)[-1]["signals"]
    assert (facing["facing_key"], facing["facing_red"], facing["carrying"], facing["key_distance"]) == (1, 1, 0, 1)
    carried = env.step(PICK_UP)[-1]["signals"]
    assert (carried["carrying"], carried["carrying_key"], carried["carrying_red"], carried["carrying_blue"]) == (
        1,
        1,
        1,
        0,
    )
    assert (carried["key_present"], carried["key_distance"], carried["facing_key"]) == (1, 0, 0)
    assert (carried["door_locked"], carried["door_open"]) == (1, 0)
    env.step(RIGHT)
    env.step(WALK)
    opened = env.step(TOGGLE)[-1]["signals"]
    assert (opened["door_locked"], opened["door_open"]) == (0, 1)
    grid.agent_dir = 3
    dropped = env.step(DROP)[-1]["signals"]
    assert (dropped["carrying"], dropped["carrying_red"], dropped["key_distance"]) == (0, 0, 1)


def test_what_a_box_hides_is_measured_once_it_is_open():
    env, grid, _ = started("BabyAI-KeyInBox-v0")
    for place, cell in enumerate(grid.grid.grid):
        if cell is not None and cell.type in ("box", "key"):
            grid.grid.grid[place] = None
    x, y = (int(place) for place in grid.front_pos)
    grid.grid.set(x, y, Box("blue", contains=Key("red")))
    hidden = env.step(DONE)[-1]["signals"]
    assert (hidden["box_distance"], hidden["key_present"]) == (1, 0)
    assert env.step(TOGGLE)[-1]["signals"]["facing_key"] == 1


# --- missions and ends -----------------------------------------------------------------------------------------


def test_the_mission_is_told_in_words_and_counted():
    env = instance("BabyAI-GoToRedBall-v0").make()
    observation, info = env.reset(seed=0)
    assert info["mission"] in ("go to the red ball", "go to a red ball")
    np.testing.assert_array_equal(observation["mission"], count_words(info["mission"]))
    assert env.step(LEFT)[-1]["mission"] == info["mission"]
    assert {WORDS[place] for place in np.flatnonzero(observation["mission"])} == set(info["mission"].split())


def test_a_word_that_is_not_known_is_said():
    with pytest.raises(ManyheadsError, match="has the word 'dragon', which manyheads_minigrid does not know"):
        count_words("go to the dragon")


def test_the_goal_terminates_and_pays():
    env, _, _ = started("Empty-5x5-v0")
    for action in (WALK, WALK, RIGHT, WALK):
        *_, terminated, truncated, info = env.step(action)
        assert (terminated, truncated, info["signals"]["success"]) == (False, False, 0)
    _, reward, terminated, truncated, info = env.step(WALK)
    assert (terminated, truncated) == (True, False)
    assert reward == pytest.approx(1 - 0.9 * 5 / 100)
    assert (info["signals"]["success"], info["signals"]["goal_distance"]) == (1, 0)


def test_lava_terminates_without_success():
    env, grid, _ = started("LavaGapS5-v0")
    grid.agent_pos, grid.agent_dir = (1, 1), 0
    grid.grid.set(2, 1, next(cell for cell in grid.grid.grid if cell is not None and cell.type == "lava"))
    _, reward, terminated, truncated, info = env.step(WALK)
    assert (reward, terminated, truncated) == (0, True, False)
    assert (info["signals"]["success"], info["signals"]["lava_distance"]) == (0, 0)


def test_the_time_limit_truncates():
    env, grid, _ = started("BabyAI-GoToRedBallNoDists-v0")
    for cell in grid.grid.grid:
        if cell is not None and cell.type == "ball":
            grid.grid.set(*cell.cur_pos, None)
    grid.instrs.desc.obj_poss = []
    flags = [env.step(DONE)[2:4] for _ in range(grid.max_steps)]
    assert flags == [(False, False)] * 63 + [(False, True)]
