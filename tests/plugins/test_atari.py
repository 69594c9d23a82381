"""Atari games: protocols, time, seeds, flags, errors; and every annotation against what the game shows or pays."""

import subprocess
import sys
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from ale_py import roms
from ale_py.registration import rom_id_to_name
from atari_checks import EDGE, follows, grows, moves, play, rewarded, scores, ticks
from PIL import Image

import manyheads_atari
from manyheads.environment.adapter import FlatEnv
from manyheads.environment.contract import Environment
from manyheads.errors import ManyheadsError
from manyheads.registry import registry
from manyheads.testing import check_environment
from manyheads_atari.annotations import ANNOTATIONS
from manyheads_atari.games import GAMES, PROTOCOLS
from manyheads_atari.memory import Cell

ENVIRONMENTS: dict[str, Environment] = {}
manyheads_atari.register_environments(lambda environment: ENVIRONMENTS.setdefault(environment.name, environment))


def instance(game, **options):
    return ENVIRONMENTS[f"atari/{game}"].instance(options)


def action(env, name):
    """The number of a joystick's action."""
    return [each.name for each in env.unwrapped.joystick].index(name)


def held(env, name, steps):
    """Signals after some steps of one action."""
    return [env.step(action(env, name))[-1]["signals"] for _ in range(steps)]


# --- games and options ------------------------------------------------------------------------------------------


def test_every_game_for_one_player_is_there_under_gymnasiums_name():
    two_players = {"combat", "joust", "maze_craze", "warlords"}
    assert set(GAMES.values()) == set(roms.get_all_rom_ids()) - two_players
    assert all(name == rom_id_to_name(rom) for name, rom in GAMES.items())
    assert set(ANNOTATIONS) <= set(GAMES.values())


def test_listing_imports_neither_ale_nor_torch():
    code = (
        "import sys, manyheads_atari\n"
        "found = []\n"
        "manyheads_atari.register_environments(found.append)\n"
        "[environment.instance().signals for environment in found]\n"
        "assert len(found) > 100\n"
        "assert not {'ale_py', 'torch', 'PIL'} & set(sys.modules), sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("game", ["Pong", "Boxing", "Breakout"])
@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_it_keeps_its_promises(game, protocol):
    check_environment(instance(game, protocol=protocol), steps=60)


@pytest.mark.parametrize("game", ["Qbert", "Hangman"])
def test_no_trace_of_the_game_before_is_left(game):
    """A restored state alone keeps some in Q*bert, a reset alone in Hangman."""
    check_environment(instance(game, noops=0), steps=20)


@pytest.mark.slow
@pytest.mark.parametrize("game", GAMES)
def test_every_game_keeps_its_promises(game):
    stands_still_at_first = game in ("Tutankham", "VideoChess")
    check_environment(instance(game, frame_skip=30 if stands_still_at_first else 4), steps=30)


def test_protocols_are_dreamers():
    hundred, fifty_seven = instance("Pong").options, instance("Pong", protocol=57).options
    assert (hundred.size, hundred.grey, hundred.actions, hundred.sticky) == (64, False, "minimal", 0.0)
    assert (fifty_seven.size, fifty_seven.grey, fifty_seven.actions, fifty_seven.sticky) == (96, True, "all", 0.25)
    for options in (hundred, fifty_seven):
        assert (options.frame_skip, options.noops, options.max_frames) == (4, 30, 108_000)
    assert FlatEnv(instance("Pong").make(), instance("Pong").signals).layout.image == (64, 64, 3)
    grey = instance("Pong", protocol="57")
    places = FlatEnv(grey.make(), grey.signals).layout
    assert (places.image, places.blocks) == ((96, 96, 1), (18,))


def test_each_number_is_an_option_of_its_own():
    mixed = instance("Pong", protocol="57", size=64, sticky=0.0)
    assert (mixed.options.size, mixed.options.sticky, mixed.options.actions) == (64, 0.0, "all")
    spelt_out = instance("Pong", **PROTOCOLS["57"])
    assert spelt_out.dynamics_key == instance("Pong", protocol="57").dynamics_key
    assert spelt_out.dynamics_key != instance("Pong").dynamics_key


def test_options_are_checked():
    with pytest.raises(ManyheadsError, match="atari/Pong: option protocol='26': Input should be '100k' or '57'"):
        instance("Pong", protocol="26")
    with pytest.raises(ManyheadsError, match=r"atari/Pong: option sticky=1\.5"):
        instance("Pong", sticky=1.5)
    with pytest.raises(ManyheadsError, match=r"Did you mean frame_skip"):
        instance("Pong", frameskip=4)


# --- errors -----------------------------------------------------------------------------------------------------


def test_an_unknown_game_is_said_with_the_nearest():
    with pytest.raises(ManyheadsError, match=r"There is no environment named 'atari/Pnog'\. Did you mean atari/Pong"):
        registry().environments["atari/Pnog"]


def test_a_missing_rom_is_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("ALE_ROMS_DIR", str(tmp_path))
    with pytest.raises(ManyheadsError, match=r"atari/Pong: ale-py's ROM pong\.bin can't be read .*unset ALE_ROMS_DIR"):
        instance("Pong").make()


def test_without_ale_the_error_names_the_extra():
    code = (
        "import sys, importlib.util\n"
        "find = importlib.util.find_spec\n"
        "import manyheads.imports\n"
        "manyheads.imports.find_spec = lambda name: None if name == 'ale_py' else find(name)\n"
        "import manyheads\n"
        "try:\n"
        "    manyheads.make('atari/Pong')\n"
        "except manyheads.ManyheadsError as error:\n"
        "    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said == "atari/Pong needs ale_py, not installed here. Install with `pip install 'manyheads[atari]'`.\n"


# --- time, seeds, flags -----------------------------------------------------------------------------------------


def test_a_time_out_truncates_even_within_a_repeat():
    env = instance("Pong", max_frames=10).make()
    env.reset(seed=0)
    ends = [env.step(0)[2:] for _ in range(3)]
    assert [flags[:2] for flags in ends] == [(False, False), (False, False), (False, True)]
    assert [info["signals"]["frame"] for *_, info in ends] == [4, 8, 10]


def test_the_end_of_the_game_terminates_and_a_lost_life_does_not():
    env = instance("Breakout").make()
    env.reset(seed=0)
    lives, over = [], False
    while not over:
        _, _, over, truncated, info = env.step(action(env, "FIRE"))
        lives.append(info["signals"]["lives"])
        assert not truncated
    assert sorted(set(lives), reverse=True) == [5, 4, 3, 2, 1, 0]


def test_points_add_up_and_begin_again():
    env = instance("Pong").make()
    env.reset(seed=0)
    paid = 0.0
    for _ in range(300):
        _, reward, *_, info = env.step(0)
        paid += reward
        assert info["signals"]["score"] == paid
    assert paid < -2
    assert env.reset(seed=1)[1]["signals"] | {"score": 0.0, "frame": 0.0} == env.reset(seed=1)[1]["signals"]


def test_seeds_choose_how_many_frames_nothing_is_done():
    env = instance("Freeway").make()
    starts = {env.reset(seed=seed)[0].tobytes() for seed in range(8)}
    assert len(starts) > 3
    still = instance("Freeway", noops=0).make()
    assert len({still.reset(seed=seed)[0].tobytes() for seed in range(4)}) == 1


def test_sticky_actions_hold_the_last_one_as_often_as_said():
    env = instance("Pong", sticky=0.25, frame_skip=1, noops=0).make()
    env.reset(seed=0)
    up, down, kept = action(env, "RIGHT"), action(env, "LEFT"), 0
    for _ in range(2000):
        before = env.unwrapped._held
        env.step(down if before == env.unwrapped.joystick[up] else up)
        kept += env.unwrapped._held == before
    assert 0.21 < kept / 2000 < 0.29


def test_what_is_observed_is_the_maximum_of_the_last_two_frames():
    """In Space Invaders a shot is drawn on every other frame only."""
    one, two = (instance("SpaceInvaders", noops=0, frame_skip=skip).make() for skip in (1, 2))
    one.reset(seed=0), two.reset(seed=0)
    frames = []
    for t in range(60):
        one.step(action(one, "FIRE"))
        frames.append(one.render())
        if t % 2:
            seen, *_ = two.step(action(two, "FIRE"))
            whole = Image.fromarray(np.maximum(*frames[-2:])).resize((64, 64), Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(seen, whole)
    assert any((earlier != later).any() for earlier, later in pairwise(frames))


def test_rendering_gives_the_consoles_picture():
    env = instance("Boxing").make()
    env.reset(seed=0)
    assert (env.render().shape, env.render().dtype) == ((210, 160, 3), np.uint8)
    assert env.render().std() > 10
    assert env.metadata["render_fps"] == 15


# --- what memory says -------------------------------------------------------------------------------------------

FAST = ["boxing", "breakout", "pong"]
CHECKS = {
    scores: {"player_score", "enemy_score"},
    ticks: {"clock_seconds"},
    rewarded: {"blocks_hit", "dots_eaten", "invaders_left"},
    grows: {"oxygen", "fuel", "power", "igloo_blocks"},
}
"""how annotations that are no positions are checked"""

recorded = cache(play)


@pytest.mark.parametrize(
    ("rom", "cell"),
    [
        pytest.param(rom, cell, id=f"{rom}-{cell.signal.name}", marks=() if rom in FAST else pytest.mark.slow)
        for rom, cells in ANNOTATIONS.items()
        for cell in cells
    ],
)
def test_a_byte_says_what_its_annotation_says(rom: str, cell: Cell):
    played = recorded(rom)
    if cell.signal.unit == "px":
        axis = 0 if cell.signal.name.endswith("_y") else 1
        assert moves(played, cell, axis) >= 0.5 or follows(played, cell, axis) >= 0.6
    else:
        (check,) = (check for check, names in CHECKS.items() if cell.signal.name in names)
        assert check(played, cell) >= 0.9


def test_the_checks_refuse_the_bytes_around():
    """Where Pong's ball is stands in one byte alone."""
    played = recorded("pong")
    ball = next(cell for cell in ANNOTATIONS["pong"] if cell.signal.name == "ball_x")
    for address in range(40, 60):
        other = Cell(ball.signal, address, ball.decode)
        passes = moves(played, other, 1) >= 0.5 or follows(played, other, 1) >= 0.6
        assert passes == (address == ball.address)


def test_pongs_paddle_goes_up_and_down_and_is_where_it_says():
    env = instance("Pong").make()
    env.reset(seed=0)
    down = held(env, "LEFT", 12)
    up = held(env, "RIGHT", 8)
    assert down[-1]["player_y"] > down[3]["player_y"]
    assert up[-1]["player_y"] < down[-1]["player_y"]
    green = np.argwhere((env.render() == (92, 186, 92)).all(axis=-1))
    paddle = green[(green[:, 0] > 34) & (green[:, 0] < 194)]
    height = 16  # its top may lie behind the wall
    assert abs(paddle[:, 0].max() + 1 - height - up[-1]["player_y"]) <= 2


def test_boxings_player_walks_right_and_down_and_is_where_it_says():
    env = instance("Boxing").make()
    env.reset(seed=0)
    before = held(env, "NOOP", 1)[0]
    right = held(env, "RIGHT", 8)[-1]
    below = held(env, "DOWN", 4)[-1]
    assert right["player_x"] > before["player_x"]
    assert below["player_y"] > right["player_y"]
    white = np.argwhere((env.render() == (214, 214, 214)).all(axis=-1))
    boxer = white[(white[:, 0] > 35) & (white[:, 0] < 175)]
    assert abs(boxer[:, 1].min() - below["player_x"]) <= EDGE
    assert abs(boxer[:, 0].min() - below["player_y"]) <= EDGE


def test_boxings_knock_out_is_the_hundredth_punch():
    score = next(cell for cell in ANNOTATIONS["boxing"] if cell.signal.name == "player_score")
    assert [score.decode(byte) for byte in (0x00, 0x09, 0x10, 0x99, 0xC0)] == [0, 9, 10, 99, 100]
