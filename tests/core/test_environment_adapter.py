"""Any Gymnasium space as flat rows and back, and rows fitted to an interface."""

import sys

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from manyheads.environment.actions import ActionUnflattener
from manyheads.environment.adapter import FlatEnv, LayoutMap
from manyheads.environment.contract import REWARD
from manyheads.environment.layout import SpaceLayout
from manyheads.environment.observations import ObservationFlattener
from manyheads.errors import ManyheadsError


class Still(gymnasium.Env):
    """Shows one observation and remembers the actions that it got."""

    def __init__(self, observation_space, action_space, observation):
        self.observation_space, self.action_space, self.observation = observation_space, action_space, observation
        self.actions = []

    def reset(self, *, seed=None, options=None):
        return self.observation, {"signals": {"reward": 0.0}}

    def step(self, action):
        self.actions.append(action)
        return self.observation, 1.0, False, True, {"signals": {"reward": 1.0}}


def box(*shape, low=-1.0, high=1.0, dtype=np.float32):
    return spaces.Box(low, high, shape, dtype)


# --- observations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "value", "names", "vector"),
    [
        (box(2), [0.5, -1], ("observation[0]", "observation[1]"), [0.5, -1]),
        (box(), 0.5, ("observation[0]",), [0.5]),
        (box(1, 2), [[1, 0]], ("observation[0]", "observation[1]"), [1, 0]),
        (spaces.Discrete(3, start=5), 6, ("observation[0]", "observation[1]", "observation[2]"), [0, 1, 0]),
        (
            spaces.MultiDiscrete([2, 3]),
            [1, 0],
            ("observation.0[0]", "observation.0[1]", "observation.1[0]", "observation.1[1]", "observation.1[2]"),
            [0, 1, 1, 0, 0],
        ),
        (spaces.MultiBinary(2), [1, 0], ("observation[0]", "observation[1]"), [1, 0]),
        (
            spaces.Tuple((spaces.Discrete(2), box(1))),
            (1, [0.25]),
            ("observation.0[0]", "observation.0[1]", "observation.1[0]"),
            [0, 1, 0.25],
        ),
        (
            spaces.Dict({"arm": spaces.Dict({"angle": box(1)}), "on": spaces.Discrete(2)}),
            {"arm": {"angle": [0.5]}, "on": 0},
            ("arm.angle[0]", "on[0]", "on[1]"),
            [0.5, 1, 0],
        ),
        (box(4, 4, 3, low=0, high=255, dtype=np.uint8), np.full((4, 4, 3), 7), None, [7.0] * 48),
    ],
)
def test_observations_become_named_numbers(space, value, names, vector):
    rows = ObservationFlattener(space, "toy")
    image, flat = rows(value if isinstance(value, dict | tuple | int) else np.asarray(value))
    assert image is None
    assert rows.image is None
    assert names is None or rows.names == names
    assert flat.dtype == np.float32
    np.testing.assert_array_equal(flat, np.array(vector, np.float32))


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ((64, 48), (64, 48, 1)),
        ((64, 48, 3), (64, 48, 3)),
        ((4, 64, 48), (64, 48, 4)),
        ((2, 64, 48, 3), (64, 48, 6)),
    ],
)
def test_pictures_are_channels_last(shape, image):
    picture = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    rows = ObservationFlattener(box(*shape, low=0, high=255, dtype=np.uint8), "toy")
    seen, vector = rows(picture)
    assert rows.image == seen.shape == image
    assert len(vector) == 0
    frame = picture if len(shape) == 2 else picture[0] if len(shape) == 4 or shape[0] == 4 else picture
    np.testing.assert_array_equal(seen[..., 0], frame[..., 0] if frame.ndim == 3 else frame)


def test_several_pictures_are_stacked_and_resized():
    space = spaces.Dict(
        {
            "far": box(32, 32, 3, low=0, high=255, dtype=np.uint8),
            "near": box(64, 64, low=0, high=255, dtype=np.uint8),
            "speed": box(1),
        }
    )
    value = {"far": np.full((32, 32, 3), 10, np.uint8), "near": np.full((64, 64), 200, np.uint8), "speed": [1.0]}
    with pytest.raises(ManyheadsError, match=r"toy observes pictures of sizes \(32, 32\), \(64, 64\)"):
        ObservationFlattener(space, "toy")
    rows = ObservationFlattener(space, "toy", image_size=16)
    image, vector = rows(value)
    assert rows.image == image.shape == (16, 16, 4)
    assert image[3, 3].tolist() == [10, 10, 10, 200]
    assert vector.tolist() == [1.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_none_is_named_by_its_place(bad):
    env = Still(spaces.Dict({"arm": box(3)}), spaces.Discrete(2), {"arm": np.array([0, bad, 0])})
    with pytest.raises(ManyheadsError, match=r"Still: the observation's entry 'arm\[1\]' is (nan|inf)"):
        FlatEnv(env, (REWARD,)).reset()


@pytest.mark.parametrize("what", ["observations", "actions"])
def test_spaces_that_do_not_fit_are_refused(what):
    fits, odd = box(1), spaces.Dict({"say": spaces.Sequence(spaces.Discrete(2))})
    env = Still(odd if what == "observations" else fits, odd if what == "actions" else fits, None)
    with pytest.raises(ManyheadsError, match=f"Still: {what} 'say' are Sequence.*does not fit a world"):
        FlatEnv(env, (REWARD,))


# --- actions ---------------------------------------------------------------------------------------------------


def test_continuous_actions_are_clipped_and_rescaled():
    rows = ActionUnflattener(
        spaces.Box(np.array([-2, 0, -np.inf], np.float32), np.array([4, 1, np.inf], np.float32)), "toy"
    )
    assert rows.continuous == ("action[0]", "action[1]", "action[2]")
    np.testing.assert_allclose(rows([-5.0, 0.0, 0.25]), [-2, 0.5, 0.25])
    np.testing.assert_allclose(rows([1.0, 3.0, 7.0]), [4, 1, 1.0])
    assert rows([0, 0, 0]).dtype == np.float32


def test_discrete_actions_are_the_greatest_of_their_block():
    assert ActionUnflattener(spaces.Discrete(3, start=4), "toy")([0.1, 0.9, 0.2]) == 5
    many = ActionUnflattener(spaces.MultiDiscrete([2, 3]), "toy")
    assert many.discrete == (("action.0", 2), ("action.1", 3))
    assert many([0, 1, 0, 0, 1]).tolist() == [1, 2]
    assert ActionUnflattener(spaces.MultiBinary(2), "toy")([0, 1, 1, 0]).tolist() == [1, 0]


def test_mixed_actions_hold_continuous_places_first():
    rows = ActionUnflattener(spaces.Dict({"gear": spaces.Discrete(2), "move": spaces.Tuple((box(1), box(2)))}), "toy")
    assert (rows.continuous, rows.discrete) == (("move.0[0]", "move.1[0]", "move.1[1]"), (("gear", 2),))
    action = rows([0.5, -1, 1, 0, 1])
    assert action["gear"] == 1
    assert [part.tolist() for part in action["move"]] == [[0.5], [-1, 1]]


@pytest.mark.parametrize("action", [[0.0], [0.0, np.nan]])
def test_wrong_actions_are_refused(action):
    with pytest.raises(ManyheadsError, match="toy takes 2 finite numbers as action"):
        ActionUnflattener(box(2), "toy")(action)


LEAVES = st.one_of(
    st.builds(lambda n, d: box(n, low=-d, high=d), st.integers(1, 3), st.floats(0.5, 10)),
    st.builds(spaces.Discrete, st.integers(1, 4), start=st.integers(-2, 2)),
    st.builds(spaces.MultiDiscrete, st.lists(st.integers(1, 3), min_size=1, max_size=3)),
    st.builds(spaces.MultiBinary, st.integers(1, 3)),
)
SPACES = st.recursive(
    LEAVES,
    lambda parts: st.one_of(
        st.builds(spaces.Tuple, st.lists(parts, min_size=1, max_size=3)),
        st.builds(spaces.Dict, st.dictionaries(st.sampled_from("abc"), parts, min_size=1, max_size=3)),
    ),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(space=SPACES, seed=st.integers(0, 1000))
def test_every_flat_action_fits_the_space_and_every_observation_its_names(space, seed):
    space.seed(seed)
    rows = ObservationFlattener(space, "toy")
    _, vector = rows(space.sample())
    assert len(vector) == len(rows.names) == len(set(rows.names)) == spaces.flatdim(space)
    actions = ActionUnflattener(space, "toy")
    assert space.contains(actions(np.random.default_rng(seed).normal(0, 3, actions.size)))


# --- a whole environment, and the interface ---------------------------------------------------------------------


def test_rows_of_an_environment():
    env = Still(box(2), box(1, low=-3.0, high=3.0), np.array([1.0, 2.0]))
    adapted = FlatEnv(env, (REWARD,))
    names = ("Still observation[0]", "Still observation[1]")
    assert adapted.layout == SpaceLayout(vector=names, continuous=("action[0]",))
    row = adapted.reset(seed=3)
    assert (row.image, row.vector.tolist(), row.signals.tolist()) == (None, [1.0, 2.0], [0.0])
    row, last, terminal = adapted.step([0.5])
    assert (row.signals.tolist(), last, terminal) == ([1.0], True, False)
    assert env.actions[0].tolist() == [1.5]


def test_a_row_is_a_new_array_each_time():
    observation = np.zeros(2, np.float32)
    adapted = FlatEnv(Still(box(2), box(1), observation), (REWARD,))
    row = adapted.reset()
    observation += 1
    assert row.vector.tolist() == [0.0, 0.0]


CART = SpaceLayout(vector=("position[0]", "velocity[0]"), continuous=("action[0]",))
CHOICE = SpaceLayout(image=(64, 64, 1), vector=("velocity[0]", "height[0]"), discrete=(("action", 2),))
CHOICE3 = SpaceLayout(image=(64, 64, 3), discrete=(("action", 3),))


def test_an_interface_grows_and_fits_each_instance():
    interface = CART.union(CHOICE).union(CHOICE3)
    assert interface.vector == ("position[0]", "velocity[0]", "height[0]")
    assert interface.discrete == (("action", 2), ("action", 3))
    assert interface.image == (64, 64, 3)
    fitting = LayoutMap(interface, CHOICE)
    assert fitting.map_vector([[1.0, 2.0]]).tolist() == [[0.0, 1.0, 2.0]]
    assert fitting.unmap_vector([9.0, 1.0, 2.0]).tolist() == [1.0, 2.0]
    assert fitting.unmap_action([0.5, 0, 1, 7, 8, 9]).tolist() == [0, 1]
    assert LayoutMap(interface, CHOICE3).unmap_action([0.5, 0, 1, 7, 8, 9]).tolist() == [7, 8, 9]
    assert fitting.map_action([0, 1]).tolist() == [0, 0, 1, 0, 0, 0]
    image = fitting.map_image(np.full((64, 64, 1), 9, np.uint8))
    assert image.shape == (64, 64, 3)
    assert image[0, 0].tolist() == [9, 0, 0]
    assert not LayoutMap(interface, CART).map_image(None).any()
    assert LayoutMap(CART, CART).map_image(None) is None


def test_masks_tell_which_entries_an_instance_has():
    mask = CART.union(CHOICE).union(CHOICE3).mask(CHOICE3)
    assert mask.image
    assert mask.vector.tolist() == [False] * 3
    assert mask.continuous.tolist() == [False]
    assert mask.blocks.tolist() == [False, True]


def test_an_entry_that_the_interface_lacks_is_named():
    with pytest.raises(ManyheadsError, match=r"lacks the entry 'height\[0\]'"):
        LayoutMap(CART.union(SpaceLayout(image=(64, 64, 3))), CHOICE)


ARM = SpaceLayout(vector=("dmc/arm position[0]", "dmc/arm target[0]"), continuous=("action[0]",))
BALL = SpaceLayout(vector=("dmc/ball position[0]",), continuous=("action[0]",))


def test_entries_of_one_name_are_shared_only_on_purpose():
    apart, together = ARM.union(BALL), ARM.shared().union(BALL.shared())
    assert apart.vector == ("dmc/arm position[0]", "dmc/arm target[0]", "dmc/ball position[0]")
    assert apart.mask(BALL).vector.tolist() == [False, False, True]
    assert together.vector == ("position[0]", "target[0]")
    assert together.mask(BALL).vector.tolist() == [True, False]
    assert LayoutMap(apart, BALL).map_vector([7.0]).tolist() == [0, 0, 7]
    assert LayoutMap(together, BALL).map_vector([7.0]).tolist() == [7, 0]


def test_a_world_that_shares_entries_since_before_keeps_them():
    before = SpaceLayout(vector=("position[0]",), continuous=("action[0]",))
    grown = before.union(ARM)
    assert grown.vector == ("position[0]", "dmc/arm target[0]")
    assert LayoutMap(grown, ARM).map_vector([1.0, 2.0]).tolist() == [1, 2]
    assert grown.union(ARM) == grown


def test_pictures_of_one_world_have_one_size():
    with pytest.raises(ManyheadsError, match="All images of one world have one size"):
        CHOICE.union(SpaceLayout(image=(32, 32, 3)))


names = st.lists(st.sampled_from("abcdef"), unique=True, max_size=4).map(tuple)
blocks = st.lists(st.tuples(st.sampled_from("uv"), st.integers(2, 3)), unique=True, max_size=3).map(tuple)
places = st.builds(SpaceLayout, vector=names, continuous=names, discrete=blocks)


@given(one=places, other=places)
def test_fitting_there_and_back_keeps_an_instance_s_numbers(one, other):
    fitting = LayoutMap(one.union(other), other)
    vector, action = np.arange(len(other.vector)) + 1.0, np.arange(other.action_size) + 1.0
    np.testing.assert_array_equal(fitting.unmap_vector(fitting.map_vector(vector)), vector)
    np.testing.assert_array_equal(fitting.unmap_action(fitting.map_action(action)), action)
    assert fitting.map_vector(vector).sum() == vector.sum()


def test_adapting_is_few_calls_however_long_the_rows():
    def calls(size):
        adapted = FlatEnv(Still(box(size), box(6), np.zeros(size, np.float32)), (REWARD,))
        action, events = np.zeros(6, np.float32), []
        sys.setprofile(lambda frame, event, argument: events.append(event))
        try:
            adapted.step(action)
        finally:
            sys.setprofile(None)
        return events.count("call") + events.count("c_call")

    assert calls(24) == calls(2400) < 40  # some 10 us
