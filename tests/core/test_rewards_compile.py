"""What a specification pays: dm_control's shapes, combinations, effort, success."""

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manyheads.errors import ManyheadsError
from manyheads.rewards.compile import combination, tolerance
from manyheads.rewards.nodes import Success
from manyheads.rewards.sources import SpecSource, episode_succeeded, successes
from manyheads.rewards.spec import REACH_ZERO, Combine, RewardSpec, Sigmoid, Tolerance


def source(reward, **more):
    return SpecSource(RewardSpec.model_validate({"environment": "test/thing", "reward": reward, **more}))


def ramp(name="x", low=0.0, high=1.0, **more):
    return {"x": {"signal": name}, "to": {"shape": "ramp", "low": low, "high": high}, **more}


def paid(reward, first=None, **columns):
    """Labels of rows none of which starts an episode."""
    columns = {name: np.asarray(column, float) for name, column in columns.items()}
    shape = next(iter(columns.values())).shape
    return source(reward).label(columns, np.zeros(shape, bool) if first is None else first).reward


@pytest.mark.parametrize("sigmoid", get_args(Sigmoid))
@settings(max_examples=60, deadline=None)
@given(
    lower=st.none() | st.floats(-5, 5),
    width=st.none() | st.just(0.0) | st.floats(0, 3),
    margin=st.just(0.0) | st.floats(0.01, 10),
    at_margin=st.just(0.0) | st.floats(0.001, 0.99),
)
def test_tolerance_is_dm_controls(sigmoid, lower, width, margin, at_margin):
    rewards = pytest.importorskip("dm_control.utils.rewards")
    if lower is None and width is None:
        return
    if at_margin == 0 and sigmoid not in REACH_ZERO:
        at_margin = 0.1
    upper = None if width is None else (lower or 0.0) + width
    shape = Tolerance(
        shape="tolerance", lower=lower, upper=upper, margin=margin, sigmoid=sigmoid, value_at_margin=at_margin
    )
    bounds = (-np.inf if lower is None else lower, np.inf if upper is None else upper)
    edges = [edge + step for edge in bounds if np.isfinite(edge) for step in (-margin, -1e-9, 0, 1e-9, margin)]
    x = np.array([*np.linspace(-20, 20, 41), *edges])
    theirs = rewards.tolerance(x, bounds, margin, sigmoid, at_margin)
    np.testing.assert_allclose(tolerance(torch.as_tensor(x), shape).numpy(), theirs, rtol=0, atol=1e-9)


def test_ramp_runs_either_way_and_is_clipped():
    x = [-1.0, 0.0, 0.25, 1.0, 2.0]
    np.testing.assert_allclose(paid(ramp(), x=x), [0, 0, 0.25, 1, 1])
    np.testing.assert_allclose(paid(ramp(low=1.0, high=0.0), x=x), [1, 1, 0.75, 0, 0])


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("product", 0.2 * 0.8),
        ("min", 0.2),
        ("weighted_mean", 0.65),
        ("geometric_mean", 0.2**0.25 * 0.8**0.75),
    ],
)
def test_combinations(how, expected):
    both = [ramp("x", weight=1.0), ramp("y", weight=3.0)]
    assert paid({"combine": how, "of": both}, x=[0.2], y=[0.8]) == pytest.approx(expected)


def test_floors_lift_terms_and_combinations():
    assert paid(ramp(floor=0.5), x=[0.0, 0.5, 1.0]) == pytest.approx([0.5, 0.75, 1.0])
    both = {"combine": "product", "of": [ramp("x"), ramp("y")], "floor": 0.2}
    assert paid(both, x=[0.5], y=[0.0]) == pytest.approx(0.2)


def test_a_term_of_constants_is_spread_over_the_rows():
    nearness = {"op": "dist", "of": [{"signal": "x"}, {"constant": 1}, {"constant": 3}, {"constant": 1}]}
    term = {"x": nearness, "to": {"shape": "ramp", "low": 10.0, "high": 0.0}}
    node = Combine.model_validate({"combine": "min", "of": [term]})
    assert combination(node, {"x": torch.tensor([1.0, 3.0])}).tolist() == pytest.approx([0.8, 1.0])


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"op": "wrap_angle", "of": {"signal": "x"}}, 3.5 - 2 * np.pi),
        ({"op": "wrap_angle", "of": {"constant": 1.0}}, 1.0),
        ({"op": "abs", "of": {"op": "neg", "of": {"signal": "x"}}}, 3.5),
        ({"op": "diff", "of": [{"signal": "y"}, {"signal": "x"}]}, -4.5),
        ({"op": "norm", "of": [{"signal": "x"}, {"signal": "y"}]}, np.hypot(3.5, 1)),
        ({"op": "mean", "of": [{"signal": "x"}, {"signal": "y"}]}, 1.25),
        ({"op": "max", "of": [{"signal": "x"}, {"signal": "y"}, {"constant": 4.0}]}, 4.0),
    ],
)
def test_expressions(expression, expected):
    whole = {"op": "mean", "of": [expression, {"op": "diff", "of": [{"signal": "y"}, {"signal": "y"}]}]}
    earned = paid({"x": whole, "to": {"shape": "ramp", "low": -10.0, "high": 10.0}}, x=[3.5], y=[-1.0])
    assert earned == pytest.approx((expected / 2 + 10) / 20)


def test_effort_is_the_mean_over_all_controls():
    lazy = source({**ramp("x")}, effort={"weight": 0.2})
    columns = {
        "x": np.ones((1, 3)),
        "control[0]": np.array([[0, 1, 0.5]]),
        "control[1]": np.array([[0, 1, -2.0]]),
    }
    reward = lazy.label(columns, np.zeros((1, 3), bool)).reward
    np.testing.assert_allclose(reward, [[1.0, 0.8, 0.8 + 0.2 * 0.75 / 2]], rtol=1e-6)
    with pytest.raises(ManyheadsError, match=r"control\[0\]"):
        lazy.label({"x": np.ones(3)})


def test_a_row_that_starts_an_episode_earns_nothing():
    assert source(ramp()).label({"x": np.ones(4)}).reward.tolist() == [0, 1, 1, 1]
    assert paid(ramp(), first=np.array([False, True, False, True]), x=np.ones(4)).tolist() == [1, 0, 1, 0]


def test_tensors_give_tensors_and_arrays_give_arrays():
    reward, terminated = source(ramp()).label({"x": torch.ones(2, 3)})
    assert reward.dtype == torch.float32
    assert terminated.dtype == torch.bool
    assert isinstance(source(ramp()).label({"x": np.ones((2, 3), np.float32)}).reward, np.ndarray)


def test_a_reading_that_is_not_finite_is_not_passed_as_a_zero():
    when = {"op": "gt", "x": {"signal": "x"}, "than": 0.0}
    reward = paid({"to": {"shape": "indicator", "when": when}}, x=[np.nan, np.inf, 1.0])
    assert np.isnan(reward[:2]).all()
    assert reward[2] == 1


def test_wrong_columns_are_named():
    with pytest.raises(ManyheadsError, match="no signal named 'x'"):
        source(ramp()).label({"xx": np.ones(3)})
    both = {"combine": "min", "of": [ramp("x"), ramp("y")]}
    with pytest.raises(ManyheadsError, match="one shape"):
        source(both).label({"x": np.ones(3), "y": np.ones((3, 1))})


HELD = Success.model_validate({"when": {"op": "gt", "x": {"signal": "x"}, "than": 0.0}, "held_for": 3})


def test_success_is_held_for_consecutive_rows_of_one_episode():
    x = np.array([1, 1, 1, 1, 1, 0, 1, 1, 1, 1.0])
    first = np.zeros(10, bool)
    first[[0, 7]] = True
    expected = np.zeros(10, bool)
    expected[[3, 4]] = True  # rows 1 to 3, then 2 to 4; row 7 starts again and doesn't count itself
    np.testing.assert_array_equal(successes(HELD, {"x": x}, first), expected)
    assert episode_succeeded(HELD, {"x": x[:4]})
    assert not episode_succeeded(HELD, {"x": x[:3]})


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_success_agrees_with_counting(rows):
    good, first = np.array(rows).T
    run, expected = 0, []
    for holds, starts in zip(good, first, strict=True):
        run = run + 1 if holds and not starts else 0
        expected.append(run >= 3)
    assert successes(HELD, {"x": good * 1.0}, first).tolist() == expected


def test_a_specification_without_success_says_so():
    with pytest.raises(ManyheadsError, match="does not define success"):
        source(ramp()).success({"x": np.ones(3)})
