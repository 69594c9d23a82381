"""What an environment declares and gives is taken as it is, or refused by name; docs/borders.md lists what holds."""

import asyncio
import os
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from manyheads.environment import notice
from manyheads.environment.actions import ActionUnflattener
from manyheads.environment.adapter import FlatEnv
from manyheads.environment.contract import Environment, Signal
from manyheads.environment.observations import ObservationFlattener
from manyheads.environment.text import TEXT_SIZE, encode_text
from manyheads.errors import ForeignError, ManyheadsError


@pytest.fixture(autouse=True)
def nothing_said_before():
    notice._said.clear()


def box(*shape, low=0, high=255, dtype=np.uint8):
    return spaces.Box(low, high, shape, dtype)


RGB = box(32, 48, 3)
PIXELS = np.full((32, 48, 3), 7, np.uint8)


# --- observations are what their space declares -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "value", "message"),
    [
        (RGB, np.full((32, 48, 3), 0.7), "expected whole numbers from 0 to 255, not float64"),
        (RGB, np.full((32, 48, 3), 300), "expected 0 to 255, not 300 to 300"),
        (RGB, np.full((32, 48, 3), -1), "expected 0 to 255, not -1 to -1"),
        (RGB, PIXELS[..., 0], r"expected the shape \(32, 48, 3\), not \(32, 48\)"),
        (RGB, PIXELS[:16], r"expected the shape \(32, 48, 3\), not \(16, 48, 3\)"),
        (spaces.Discrete(5), -1, "expected 0 to 4"),
        (spaces.Discrete(5), 5, "expected 0 to 4"),
        (spaces.Discrete(5), 2.5, "float"),
        (spaces.Discrete(3, start=2), 1, "expected 2 to 4"),
        (spaces.MultiDiscrete([2, 3]), [2, 0], r"expected \[0, 0\] to \[1, 2\]"),
        (spaces.MultiDiscrete([2, 3]), [0, -1], r"expected \[0, 0\] to \[1, 2\]"),
        (spaces.MultiDiscrete([2, 3]), [1], r"expected the shape \(2,\), not \(1,\)"),
        (spaces.MultiDiscrete([2, 3]), [0.0, 1.5], "expected whole numbers"),
        (spaces.MultiBinary(2), [2, 0], "expected 0 or 1"),
        (box(2, dtype=np.int32), [0.5, 1.0], "expected whole numbers"),
        (box(2, low=-1, high=1, dtype=np.float32), 0.5, r"expected the shape \(2,\), not \(\)"),
        (box(1, low=-1, high=1, dtype=np.float32), "up", r"expected the shape \(1,\)"),
        (box(2, low=-1, high=1, dtype=np.float32), [[1], [1, 2]], "inhomogeneous"),
        (spaces.Text(5), 3, "expected a text"),
        (spaces.Text(2), "abc", "expected a text of the declared length"),
    ],
)
def test_an_observation_that_does_not_fit_is_refused_by_name(space, value, message):
    rows = ObservationFlattener(spaces.Dict({"seen": space}), "toy")
    rows({"seen": PIXELS if space is RGB else space.sample()})
    with pytest.raises(ManyheadsError, match=rf"toy: the observation 'seen' is .* outside its space .*{message}"):
        rows({"seen": value})


def test_whole_pixels_of_another_type_are_exact():
    image, _ = ObservationFlattener(RGB, "toy")(PIXELS.astype(np.int64))
    np.testing.assert_array_equal(image, PIXELS)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": 0}, "the observation lacks 'b'"),
        ({"a": 0, "b": (0, 1), "c": 1}, "the observation has 'c', which its space does not declare"),
        ({"a": 0, "b": (0,)}, r"the observation 'b' is \(0,\); expected a tuple of 2 parts"),
        (3, "the observation is 3; expected a mapping with the keys 'a', 'b'"),
    ],
)
def test_parts_that_lack_or_are_too_many_are_named(value, message):
    space = spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Tuple((spaces.Discrete(2), spaces.Discrete(2)))})
    with pytest.raises(ManyheadsError, match=message):
        ObservationFlattener(space, "toy")(value)


def test_numbers_outside_bounds_are_used_counted_and_said_once(caplog):
    rows = ObservationFlattener(box(3, low=-1, high=1, dtype=np.float32), "toy")
    for x in (0.5, 2.0, 3.0):
        assert rows(np.array([0.0, x, x]))[1].tolist() == [0.0, x, x]
    rows(np.array([2.0, 0.0, 0.0]))
    assert rows.outside == {"observation[0]": 1, "observation[1]": 2, "observation[2]": 2}
    ObservationFlattener(box(3, low=-1, high=1, dtype=np.float32), "toy")(np.array([0.0, 0.0, 2.0]))
    assert caplog.messages == [
        "toy: the observation's entry 'observation[1]' leaves its bounds [-1, 1]. It is used as it is; "
        "others of 'observation' that do are not named."
    ]


# --- actions stay in their box ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint64, np.int8])
def test_whole_actions_reach_their_bounds(dtype):
    ends = np.iinfo(dtype)
    act = ActionUnflattener(spaces.Box(ends.min, ends.max, (1,), dtype), "toy")
    assert [int(act([x])[0]) for x in (-1, 1)] == [ends.min, ends.max]
    assert act([0.3]).dtype == dtype


@pytest.mark.parametrize(
    ("low", "high", "ends"), [(10, np.inf, (10, 12)), (-np.inf, 5, (3, 5)), (-np.inf, np.inf, (-1, 1))]
)
def test_a_missing_bound_is_said_and_the_range_used_is_reached(low, high, ends, caplog):
    act = ActionUnflattener(spaces.Box(low, high, (1,), np.float32), "toy")
    assert tuple(act([x])[0] for x in (-1, 1)) == ends
    assert (
        f"toy: the action 'action[0]' has the bounds [{low:g}, {high:g}]; [{ends[0]}, {ends[1]}] is used" in caplog.text
    )


@pytest.mark.parametrize("bound", [0.1, 0.7, 1 / 3])
def test_float64_actions_stay_inside(bound):
    space = spaces.Box(-bound, bound, (1,), np.float64)
    act = ActionUnflattener(space, "toy")
    assert [act([x])[0] for x in (-1, 1)] == [-bound, bound]
    assert all(space.contains(act([x])) for x in np.linspace(-1, 1, 101))


# --- pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "image", "dtype", "high"),
    [
        ((84, 84, 3), (80, 80, 3), np.uint8, 255),
        ((210, 160, 3), (208, 160, 3), np.uint8, 255),
        ((40, 40), (48, 48, 1), np.uint8, 255),
        ((4, 3, 32, 32), (32, 32, 12), np.uint8, 255),
        ((3, 32, 32), (32, 32, 3), np.uint8, 255),
        ((2, 32, 32, 3), (32, 32, 6), np.uint8, 255),
        ((32, 48, 3), (32, 48, 3), np.float32, 1),
        ((1, 32, 32), (32, 32, 1), np.float64, 1),
        ((32, 32, 4), (32, 32, 4), np.float32, 255),
        ((7, 7, 3), None, np.uint8, 255),
        ((4, 12, 12, 3), None, np.uint8, 255),
        ((32, 32), None, np.float32, 1),
    ],
)
def test_pictures_of_any_size_and_form(shape, image, dtype, high):
    space = box(*shape, high=high, dtype=dtype)
    space.seed(0)
    rows = ObservationFlattener(space, "toy")
    seen, vector = rows(space.sample())
    assert rows.image == image
    assert len(vector) == (0 if image else np.prod(shape))
    assert seen is None if image is None else (seen.shape == image and seen.dtype == np.uint8)


def test_frames_and_channels_keep_their_order():
    frames = np.arange(12, dtype=np.uint8).reshape(4, 3, 1, 1) + np.zeros((4, 3, 32, 32), np.uint8)
    image, _ = ObservationFlattener(box(4, 3, 32, 32), "toy")(frames)
    assert image[5, 6].tolist() == list(range(12))


def test_float_pictures_are_scaled_and_refused_outside():
    rows = ObservationFlattener(box(32, 32, 3, high=1, dtype=np.float32), "toy")
    assert rows(np.full((32, 32, 3), 0.5, np.float32))[0].max() == 128
    assert rows(np.ones((32, 32, 3), np.float32))[0].min() == 255
    for wrong in (1.5, np.nan):
        with pytest.raises(ManyheadsError, match="expected 0 to 1, not"):
            rows(np.full((32, 32, 3), wrong, np.float32))


def test_what_is_changed_about_pictures_is_said(caplog):
    ObservationFlattener(box(84, 84, 3), "toy")
    ObservationFlattener(box(84, 84, 3), "toy")
    ObservationFlattener(box(64, 64, high=1, dtype=np.float32), "toy")
    assert len(caplog.messages) == 2
    assert "pictures 'observation' of 84 x 84 pixels are resized to 80 x 80" in caplog.messages[0]
    assert "'observation' is read as 4096 numbers. Pictures are uint8 boxes" in caplog.messages[1]


# --- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "space",
    [
        spaces.Dict({"a.b": spaces.Discrete(2), "a": spaces.Dict({"b": spaces.Discrete(2)})}),
        spaces.Dict({"a.0": spaces.Discrete(2), "a": spaces.Tuple((spaces.Discrete(2),))}),
        spaces.Dict({"a.0": spaces.Discrete(2), "a": spaces.MultiDiscrete([2, 3])}),
    ],
)
def test_entries_with_one_name_are_refused(space):
    with pytest.raises(ManyheadsError, match=r"toy: two entries of its observations are named 'a\."):
        ObservationFlattener(space, "toy")
    with pytest.raises(ManyheadsError, match=r"toy: two entries of its actions are named 'a\."):
        ActionUnflattener(space, "toy")


# --- observation keys -------------------------------------------------------------------------------------------


WORDS = spaces.Text(40, charset=" abcdefghijklmnopqrstuvwxyz")
KEYS = spaces.Dict({"grid": box(2, high=2), "mission": WORDS, "arm": spaces.Dict({"angle": box(1)})})


def test_keys_are_dropped_one_hot_or_text_as_declared(caplog):
    rows = ObservationFlattener(KEYS, "toy", keys={"grid": "one_hot", "mission": "text", "arm": "drop"})
    value = {"grid": np.array([2, 0], np.uint8), "mission": "open the red door", "arm": {"angle": [3]}}
    _, vector = rows(value)
    assert rows.names[:6] == ("grid.0[0]", "grid.0[1]", "grid.0[2]", "grid.1[0]", "grid.1[1]", "grid.1[2]")
    assert vector[:6].tolist() == [0, 0, 1, 1, 0, 0]
    assert rows.names[6:] == tuple(f"mission[{i}]" for i in range(TEXT_SIZE))
    np.testing.assert_array_equal(vector[6:], encode_text("Open the RED door"))
    assert not caplog.messages
    with pytest.raises(ManyheadsError, match=r"expected \[0, 0\] to \[2, 2\]"):
        rows({**value, "grid": [3, 0]})


def test_a_text_is_read_and_said_where_nothing_is_declared(caplog):
    rows = ObservationFlattener(WORDS, "toy")
    assert rows("go left")[1].tolist() != rows("left go")[1].tolist()
    [said] = caplog.messages
    assert "toy: 'observation' is text, read as 64 numbers" in said


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"missoin": "drop"}, "no observation key of toy named 'missoin'. Did you mean mission"),
        ({"grid": "text"}, "toy: 'grid' is declared as text, but its space is Box"),
        ({"mission": "one_hot"}, "toy: 'mission' is declared one-hot, but is text"),
        ({"grid": "drop", "mission": "drop", "arm": "drop"}, "toy observes nothing"),
    ],
)
def test_rules_that_do_not_fit_are_refused(keys, message):
    with pytest.raises(ManyheadsError, match=message):
        ObservationFlattener(KEYS, "toy", keys=keys)


# --- declarations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"low": -np.inf}, "Signal 'x' has low=-inf; expected a finite number, or None"),
        ({"high": np.nan}, "Signal 'x' has high=nan"),
        ({"low": "0"}, "Signal 'x' has low='0'"),
        ({"low": 1.0, "high": 0.0}, "Signal 'x' has low=1.0 above high=0.0"),
        ({"unit": "km/h"}, "Signal 'x' has the unit 'km/h'; known: 1, m, m/s,"),
        ({"kind": "binary"}, "Signal 'x' has the kind 'binary'; known: continuous, angle, boolean, discrete"),
        ({"name": ""}, "A signal's name is a text with at least one letter, not ''"),
        ({"name": None}, "A signal's name is a text .* not None"),
    ],
)
def test_signals_are_checked_when_they_are_declared(parts, message):
    with pytest.raises(ManyheadsError, match=message):
        Signal(**{"name": "x", **parts})


def test_bounds_of_numpy_become_plain():
    assert [
        type(bound) for bound in (Signal("x", low=np.float32(0), high=np.int64(2)).low, Signal("x", high=2).high)
    ] == [
        float,
        int,
    ]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"signals": ["height"]}, "toy/x declares 'height' as a signal; expected manyheads.Signal"),
        ({"signals": [Signal("reward")]}, r"declares signal 'reward' \(the simulator's own, always there\) twice"),
        (
            {"observation_keys": {"a": "text?"}},
            "the observation key 'a' has the rule 'text\\?'; known: drop, one_hot, text",
        ),
    ],
)
def test_environments_are_checked_when_they_are_declared(parts, message):
    with pytest.raises(ManyheadsError, match=message):
        Environment("toy/x", lambda options: None, **parts)
    later = Environment(
        "toy/x", lambda options: None, **{k: lambda options, v=v: v for k, v in parts.items()}
    ).instance()
    with pytest.raises(ManyheadsError, match=message):
        _ = later.signals, later.observation_keys


# --- foreign values ---------------------------------------------------------------------------------------------


class Toy(gymnasium.Env):
    """Returns what it is told, in the place of its own."""

    observation_space = spaces.Discrete(2)
    action_space = spaces.Discrete(2)

    def __init__(self, at_reset=None, at_step=None):
        self.at_reset, self.at_step = at_reset, at_step

    def reset(self, *, seed=None, options=None):
        return self.at_reset() if self.at_reset else (0, {})

    def step(self, action):
        return self.at_step()


def made(*arguments, **parts):
    return Environment("toy/x", lambda options: Toy(*arguments), **parts).instance().make()


@pytest.mark.parametrize(
    ("returned", "row"),
    [
        ((1, np.array([1.5]), False, False, {}), (1.5, False, False)),
        ((1, np.float32(2), np.True_, np.array([0]), None), (2.0, True, False)),
        ((1, 3, 1, 0, {}), (3.0, True, False)),
    ],
)
def test_numbers_of_other_types_are_taken(returned, row):
    env = made(None, lambda: returned)
    assert env.reset()[1]["signals"] == {"reward": 0.0}
    _, reward, terminated, truncated, info = env.step(0)
    assert (reward, terminated, truncated) == row
    assert [type(value) for value in (reward, terminated, truncated)] == [float, bool, bool]
    assert info["signals"] == {"reward": row[0]}


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ((1, 1.0, False, {}), "step 1 returned 4 values; Gymnasium's reset returns"),
        ((1, 1.0, False, False, 7), "step 1 returned 5 values"),
        (1, "step 1 returned a int"),
        ((1, [1.0, 2.0], False, False, {}), r"the reward of step 1 is \[1.0, 2.0\]; expected one number"),
        ((1, None, False, False, {}), "the reward of step 1 is None"),
        ((1, np.nan, False, False, {}), "signal 'reward' is nan"),
        ((1, 1.0, "False", False, {}), "terminated of step 1 is 'False'; expected True or False"),
        ((1, 1.0, False, None, {}), "truncated of step 1 is None"),
    ],
)
def test_other_returned_values_are_refused_in_the_contract_s_words(returned, message):
    env = made(None, lambda: returned)
    env.reset()
    with pytest.raises(ManyheadsError, match=message):
        env.step(0)


@pytest.mark.parametrize("returned", [0, (0, 1, 2), np.zeros(2)])
def test_a_reset_without_info_is_refused(returned):
    with pytest.raises(
        ManyheadsError, match=r"toy/x: reset returned .*Gymnasium's reset returns \(observation, info\)"
    ):
        made(lambda: returned).reset()


def leave():
    sys.exit("no licence")


def break_down():
    raise RuntimeError("no licence")


def wordless():
    raise AssertionError  # as of `assert` in a simulator


@pytest.mark.parametrize(
    ("fails", "words"),
    [
        (leave, r"it called sys.exit\('no licence'\)"),
        (break_down, "RuntimeError: no licence"),
        (wordless, r"AssertionError in test_environment_borders.py, line \d+: raise AssertionError"),
    ],
)
def test_what_an_environment_raises_names_it_and_its_step(fails, words):
    with pytest.raises(ManyheadsError, match=f"toy/x: reset failed: {words}"):
        made(fails).reset()
    env = made(None, fails)
    env.reset()
    with pytest.raises(ManyheadsError, match=f"toy/x: step 1 failed: {words}"):
        env.step(0)
    measured = made(None, fails, signals=[Signal("a")], measure=lambda env, observation: fails())
    with pytest.raises(ManyheadsError, match=f"toy/x: measuring signals at step 0 failed: {words}"):
        measured.reset()
    with pytest.raises(ManyheadsError, match=f"toy/x does not build: {words}"):
        Environment("toy/x", lambda options: fails()).instance().make()


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (GeneratorExit("late"), "GeneratorExit: late"),
        (asyncio.CancelledError("late"), "CancelledError: late"),
        (BaseException("odd"), "BaseException: odd"),
        (StopIteration("late"), "StopIteration: late"),
        (MemoryError("late"), "MemoryError: late"),
    ],
)
def test_what_is_raised_and_no_exception_is_named_too(raised, words):
    def fails():
        raise raised

    env = made(None, fails)
    env.reset()
    with pytest.raises(ForeignError, match=rf"^toy/x: step 1 failed: {words}\.$") as error:
        env.step(0)
    assert error.value.words == words
    with pytest.raises(ForeignError, match=rf"^toy/x does not build: {words}\.$"):
        Environment("toy/x", lambda options: fails()).instance().make()


def test_a_person_s_ctrl_c_is_passed_on():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(interrupted).reset()


def test_an_environment_that_changes_the_folder_keeps_it_for_itself(tmp_path, monkeypatch):
    (tmp_path / "ours").mkdir()
    (tmp_path / "its").mkdir()
    monkeypatch.chdir(tmp_path / "ours")
    seen = []

    def moves():
        seen.append(Path.cwd().name)
        os.chdir(tmp_path / "its")
        return 0, {}

    env = made(moves)
    for _ in range(2):
        env.reset()
        assert Path.cwd().name == "ours"
    assert seen == ["ours", "its"]


def test_torch_is_as_it_was_whatever_an_environment_did_to_it():
    def changes():
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        return 0, {}

    made(changes).reset()
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


def test_measuring_can_not_change_what_was_observed():
    def measure(env, observation):
        observation["place"] += 1
        return {"a": 0.0}

    class Placed(Toy):
        observation_space = spaces.Dict({"place": box(2, low=-9, high=9, dtype=np.float32)})

        def reset(self, *, seed=None, options=None):
            return {"place": np.zeros(2, np.float32)}, {}

    environment = Environment("toy/x", lambda options: Placed(), signals=[Signal("a")], measure=measure)
    with pytest.raises(ManyheadsError, match=r"measuring signals at step 0 failed: ValueError: .* read-only"):
        environment.instance().make().reset()


@pytest.mark.parametrize("built", [None, object()])
def test_a_factory_that_builds_no_environment_is_named(built):
    with pytest.raises(ManyheadsError, match=r"toy/x builds builtins.*expected a gymnasium.Env"):
        Environment("toy/x", lambda options: built).instance().make()


def test_observation_keys_reach_the_rows():
    keyed = Environment("toy/x", lambda options: Keyed(), observation_keys={"mission": "drop"}).instance()
    env = FlatEnv(keyed.make(), keyed.signals)
    assert env.layout.shared().vector == ("place[0]", "place[1]")
    assert env.reset().vector.tolist() == [0, 1]


class Keyed(Toy):
    observation_space = spaces.Dict({"place": spaces.Discrete(2), "mission": spaces.Text(9)})

    def reset(self, *, seed=None, options=None):
        return {"place": 1, "mission": "go"}, {}
