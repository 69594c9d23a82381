"""Sentences that once came out wrong, on the real simulators' signals: right, or refused, never the opposite.

The lexicon alone reads them: a model without an opinion decides nothing.
"""

import math

import numpy as np
import pytest

pytest.importorskip("dm_control")

from manyheads import ManyheadsError, Signal
from manyheads.environment.contract import Environment
from manyheads.registry import registry
from manyheads.rewards.sources import SpecSource
from manyheads_glam.models.scripted import ScriptedModel
from manyheads_glam.writer import write


@pytest.fixture
def model(tmp_path):
    (tmp_path / "none.jsonl").write_text("")
    return ScriptedModel(tmp_path / "none.jsonl")


def written(model, goal, environment="dmc/cartpole"):
    found = environment if isinstance(environment, Environment) else registry().environments[environment]
    return write(goal, found.instance({}), model)


def pays(spec, **state):
    """What a specification pays in a state; other signals lie at 0."""
    columns = {name: np.array([0.0, state.get(name, 0.0)]) for name in spec.signals}
    return float(SpecSource(spec).label(columns).reward[1])


RIGHT = [
    ("Move the cart at no more than 0.5 m/s", "cart_velocity", 0.4, 1.0),
    ("Do not exceed a cart speed of 0.5 m/s", "cart_velocity", 0.4, 1.0),
    ("Never drive the cart faster than 0.5 m/s", "cart_velocity", 0.4, 1.0),
    ("Keep the speed of the cart not above 0.5 m/s", "cart_velocity", 0.4, 1.0),
    ("Drive the cart at no less than 0.5 m/s", "cart_velocity", 0.6, 0.1),
    ("Drive the cart at 0.5 m/s or more", "cart_velocity", 2.0, 0.1),
    ("Keep away from the left end", "cart_position", 0.0, -1.8),
    ("Stay off the left end of the rail", "cart_position", 0.0, -1.8),
    ("Be anywhere but on the left", "cart_position", 0.0, -1.5),
    ("Don't let the cart go to the left end", "cart_position", 0.0, -1.8),
    ("Drive the cart to \u22121 m", "cart_position", -1.0, 1.0),
    ("Drive the cart to minus 1 m", "cart_position", -1.0, 1.0),
    ("Park the cart at negative 1 m", "cart_position", -1.0, 1.0),
    ("Park the cart at 0,5 m", "cart_position", 0.5, 0.0),
    ("Park the cart at 1/2 m", "cart_position", 0.5, 1.0),
    ("Park the cart at 1e-1 m", "cart_position", 0.1, 1.0),
    ("Drive the cart to one and a half metres", "cart_position", 1.5, 1.0),
    ("Keep the cart within ±0.5 m", "cart_position", -0.4, 0.9),
    ("Keep the cart within ±0.5 m", "cart_position", 0.4, -0.9),
    ("Park the cart at 1 m, left of the centre", "cart_position", -1.0, 1.0),
    ("The cart should be on the left side", "cart_position", -1.2, 1.2),
    ("The cart should be on the right side", "cart_position", 1.2, -1.2),
    ("Don't let the pole fall over", "pole_angle_cosine", 1.0, -1.0),
    ("Bring the pole from hanging to standing", "pole_angle_cosine", 1.0, -1.0),
]


@pytest.mark.parametrize(("goal", "signal", "good", "bad"), RIGHT, ids=[f"{row[0]} ({row[2]:g})" for row in RIGHT])
def test_what_was_meant_pays_more(model, goal, signal, good, bad):
    found = written(model, goal)
    assert signal in found.spec.signals
    assert pays(found.spec, **{signal: good}) > pays(found.spec, **{signal: bad}) + 0.05
    assert not found.ignored


@pytest.mark.parametrize(
    ("environment", "goal", "signal", "good", "bad"),
    [
        ("dmc/walker", "The left foot should be off the ground", "left_foot_height", 0.6, 0.0),
        ("dmc/cheetah", "Keep the front foot up in the air", "front_foot_height", 0.6, 0.0),
    ],
)
def test_what_is_up_is_not_down(model, environment, goal, signal, good, bad):
    found = written(model, goal, environment)
    assert pays(found.spec, **{signal: good}) > pays(found.spec, **{signal: bad}) + 0.05


def test_a_negation_that_turns_nothing_is_refused(model):
    """What is like it in the examples asks for the opposite."""
    with pytest.raises(ManyheadsError, match="not clear from 'the ball must not be in the cup'"):
        written(model, "The ball must never be in the cup", "dmc/ball_in_cup")


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ("Be neither on the left nor on the right", "turns the meaning"),
        ("Go right instead of left", "turns the meaning"),
        ("Keep the pole upright unless the cart moves", "turns the meaning"),
        ("First park at the left, then at the right", "one thing after another"),
        ("Park at the left and after that at the right", "one thing after another"),
        ("Keep away from the middle", "two sides"),
        ("Drive to the right without crashing", "nothing called 'crashing'"),
        ("Fahre den Wagen ganz nach links", "Only English"),
        ("Conduis le chariot vers la gauche", "Only English"),
    ],
)
def test_what_is_not_read_here_is_refused_and_says_what_would_read_it(model, goal, message):
    with pytest.raises(ManyheadsError, match=message):
        written(model, goal)


def test_a_share_is_one_of_the_range(model):
    measured_fast, share = written(model, "Drive the cart at 90% of the maximum speed"), 0.9
    bounds = measured_fast.spec.reward.to
    assert bounds.lower < share < bounds.upper
    left = written(model, "Keep the cart at 50 percent of the way to the left").spec.reward.to
    assert left.lower < -0.9 < left.upper


def test_seconds_are_steps_of_the_environment(model):
    found = written(model, "Hold the cart at the left for 1.5 seconds")
    assert found.spec.success.held_for == 150
    assert registry().environments["dmc/cartpole"].instance({}).step_seconds == 0.01


def test_success_fits_into_the_episode(model):
    from manyheads_glam.surroundings import Surroundings

    instance = registry().environments["dmc/cartpole"].instance({})
    found = write("Keep the cart on the left", instance, model, around=Surroundings(episode_steps=40))
    assert found.spec.success.held_for == 20


def test_margins_follow_what_was_measured(model):
    from manyheads_glam.amounts import measure

    instance = registry().environments["dmc/cartpole"].instance({})
    near_zero = measure({"cart_position": np.linspace(-0.1, 0.1, 100)})
    near = write("Park the cart at 0.05 m", instance, model, near_zero).spec
    far = write("Park the cart at 0.05 m", instance, model).spec
    assert _margin(near) < 0.3 * _margin(far)


def _margin(spec):
    terms = getattr(spec.reward, "of", [spec.reward])
    return next(term.to.margin for term in terms if "cart_position" in str(term.x))


CRASHING = Environment(
    "test/course",
    lambda options: None,
    [
        Signal("crashed", "1", "boolean", 0, 1, "1 if the drone has hit something, else 0"),
        Signal("door_open", "1", "boolean", 0, 1, "1 if the door is open, else 0"),
        Signal("door_locked", "1", "boolean", 0, 1, "1 if the door is locked, else 0"),
        Signal("carrying_key", "1", "boolean", 0, 1, "1 if the drone carries the key, else 0"),
        Signal("key_distance", "m", low=0, high=9, description="metres to the nearest key"),
        Signal("speed", "m/s", description="metres per second forward; negative flies backward"),
    ],
    description="A drone in a course of gates.",
)


@pytest.mark.parametrize(
    ("goal", "signal", "wanted"),
    [
        ("Don't crash", "crashed", 0),
        ("Crash", "crashed", 1),
        ("Open the door", "door_open", 1),
        ("Don't open the door", "door_open", 0),
        ("Keep the door closed", "door_open", 0),
        ("Unlock the door", "door_locked", 0),
        ("Carry the key", "carrying_key", 1),
        ("Pick up the key", "carrying_key", 1),
        ("Never carry the key", "carrying_key", 0),
    ],
)
def test_yes_and_no(model, goal, signal, wanted):
    found = written(model, goal, CRASHING).spec
    assert found.signals == {signal}
    assert pays(found, **{signal: wanted}) == 1.0
    assert pays(found, **{signal: 1 - wanted}) < 0.5


def test_going_to_a_thing_is_being_near_it(model):
    found = written(model, "Go to the key", CRASHING).spec
    assert pays(found, key_distance=0.1) > pays(found, key_distance=8.0)


def test_what_the_environments_description_names_is_no_strange_word(model):
    found = written(model, "Move the drone forward", CRASHING)
    assert found.spec.signals == {"speed"}
    assert pays(found.spec, speed=2.0) > pays(found.spec, speed=-2.0)


def test_numbers_are_read_as_people_write_them():
    from manyheads_glam.words import plain_numbers

    said = {
        "\u22121": -1, "\u2013 2": -2, "minus 3": -3, "0,25": 0.25, "1/4": 0.25, "1 1/2": 1.5, "2e-1": 0.2,
        "1,500": 1500, "two and a half": 2.5, "1.5": 1.5,
    }  # fmt: skip
    for text, value in said.items():
        assert math.isclose(float(plain_numbers(text)), value), text
    assert plain_numbers("±0.5") == "between -0.5 and 0.5"
