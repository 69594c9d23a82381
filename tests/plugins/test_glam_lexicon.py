"""What the lexicon makes of sentences: numbers with units, opposites, clauses; and of signals' own sentences."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads import Signal
from manyheads_glam.catalogue import Reading
from manyheads_glam.lexicon import parse
from manyheads_glam.words import AXES, stem


@pytest.mark.parametrize(
    ("sentence", "relation", "value", "unit"),
    [
        ("put the cart at 1.5 m", "near", 1.5, "m"),
        ("half a metre to the right", "near", 0.5, "m"),
        ("stay within 30 cm of the centre", "at_most", 0.3, "m"),
        ("tilt it by 30 degrees", "near", math.radians(30), "rad"),
        ("spin at least 2 rad/s", "at_least", 2.0, "rad/s"),
        ("turn faster than 120 degrees per second", "at_least", math.radians(120), "rad/s"),
        ("run at 36 km/h", "near", 10.0, "m/s"),
        ("walk at less than one metre per second", "at_most", 1.0, "m/s"),
        ("rotate at 60 rpm", "near", 2 * math.pi, "rad/s"),
        ("go to -0.4", "near", -0.4, None),
    ],
)
def test_numbers_carry_their_unit_and_relation(sentence, relation, value, unit):
    (aspect,) = [a for a in parse(sentence).aspects if a.number]
    assert aspect.number.relation == relation
    assert aspect.number.value == pytest.approx(value)
    assert aspect.number.unit == unit


def test_between_takes_both_numbers_and_the_unit_of_the_second():
    (aspect,) = parse("keep the cart between 20 and 50 cm").aspects
    assert (aspect.number.relation, aspect.number.unit) == ("between", "m")
    assert (aspect.number.value, aspect.number.upper) == pytest.approx((0.2, 0.5))


@given(value=st.floats(0.01, 999).map(lambda x: round(x, 2)))
def test_any_decimal_is_read_as_written(value):
    (aspect,) = parse(f"keep the cart at {value} m").aspects
    assert aspect.number.value == pytest.approx(value)


def test_words_that_no_unit_follows_are_no_numbers():
    assert all(aspect.number is None for aspect in parse("lift one leg a little").aspects)


@given(axis=st.sampled_from(sorted(AXES)), data=st.data())
def test_words_of_one_axis_never_lie_on_both_poles(axis, data):
    plus, minus = ({stem(word) for word in side.split()} for side in AXES[axis])
    assert not plus & minus


@pytest.mark.parametrize(
    ("first", "second", "axis"),
    [
        ("to the left", "to the right", "lateral"),
        ("run fast", "run slowly", "pace"),
        ("go up", "go down", "vertical"),
        ("hold it above", "hold it below", "vertical"),
        ("walk forward", "walk backwards", "forward"),
        ("open the door", "close the door", "opening"),
        ("keep it spinning", "keep it still", "motion"),
        ("hold it upright", "let it hang", "posture"),
        ("near the target", "far from the target", "nearness"),
        ("turn it clockwise", "turn it anti-clockwise", "turning"),
        ("let it fall", "do not let it fall", "posture"),
    ],
)
def test_opposites_have_opposite_poles(first, second, axis):
    def pole(sentence):
        return [a.poles[axis] for a in parse(sentence).aspects if axis in a.poles]

    assert pole(first)
    assert pole(first) == [-x for x in pole(second)]


def test_stillness_and_places_are_separate_demands():
    still, place = parse("park the cart at the left").aspects
    assert still.poles == {"motion": -1}
    assert place.poles == {"lateral": -1}


def test_a_place_together_with_a_posture_is_about_the_whole_that_it_names():
    posture, place = parse("hold the pole upright at the right end of the rail").aspects
    assert (posture.poles, posture.subject, posture.place) == ({"posture": 1}, ("pol",), "")
    assert (place.poles, place.subject, place.place, place.end) == ({"lateral": 1}, ("rail",), "posed", True)


def test_on_the_way_to_a_place_slowness_is_a_limit_and_haste_is_not_paid_for():
    place, pace = parse("move the cart slowly to the left edge").aspects
    assert (place.poles, place.end, place.limit) == ({"lateral": -1}, True, False)
    assert (pace.poles["pace"], pace.limit) == (-1, True)
    (place,) = parse("rush the cart to the centre").aspects
    assert (place.centre, place.unsaid) == (True, ("rush",))
    (plain,) = parse("move the cart slowly to the left").aspects
    assert not plain.limit


def test_a_clause_without_a_demand_takes_its_neighbours():
    cart, pole = parse("hold the cart and the pole still").aspects
    assert cart.poles == pole.poles == {"motion": -1}
    assert cart.subject != pole.subject


def test_gentle_and_duration():
    parsed = parse("gently hold the pole up for 30 steps")
    assert parsed.gentle
    assert parsed.held_for == 30


@given(st.text(max_size=200))
def test_any_text_can_be_parsed(text):
    parse(text)


def reading(name, unit="m", description="", low=None, high=None, kind="continuous"):
    return Reading(Signal(name, unit, kind, low, high, description))


def test_a_signals_sentence_description_which_way_it_points():
    assert reading("x", description="metres right of the centre; negative is left").axes["lateral"] == 1
    assert reading("x", description="metres left of the centre; negative is right").axes["lateral"] == -1
    assert reading("v", "m/s", "positive to the left, negative to the right").axes["lateral"] == -1
    assert reading("height", description="metres above the floor").axes["vertical"] == 1


def test_words_that_name_a_part_point_nowhere():
    assert "lateral" not in reading("left_knee", "rad", "bend of the left knee").axes


def test_values_in_a_sentence_are_anchors():
    upright = reading("up", "1", "1 straight up, 0 level, -1 hanging", -1.0, 1.0)
    assert upright.role == "posture"
    assert upright.axes["posture"] == 1
    angle = reading("pole", "rad", "angle from upright; hanging down is pi", -math.pi, math.pi, "angle")
    assert angle.anchors["posture", 1] == 0.0
    assert angle.anchors["posture", -1] == pytest.approx(math.pi)
