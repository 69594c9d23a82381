"""What recorded rows say against a specification, and how far two rewards agree on them."""

import math

import numpy as np
import pytest

from manyheads.environment.contract import Signal
from manyheads.rewards.agreement import agreement, check_meaning, spearman
from manyheads.rewards.evidence import check_evidence
from manyheads.rewards.finding import ADVICE
from manyheads.rewards.spec import RewardSpec

SIGNALS = (Signal("x", "m"), Signal("y", "m", low=-50.0, high=50.0), Signal("control[0]"))
X, Y = {"signal": "x"}, {"signal": "y"}


def rows(length=100, episodes=50):
    """Walks from 0; y is small throughout."""
    random = np.random.default_rng(0)
    steps = random.normal(size=(episodes, length)) * 0.1
    steps[:, 0] = 0
    is_first = np.zeros((episodes, length), bool)
    is_first[:, 0] = True
    columns = {
        "x": steps.cumsum(1).ravel(),
        "y": random.uniform(-1, 1, episodes * length),
        "control[0]": random.uniform(-1, 1, episodes * length),
    }
    return columns, is_first.ravel()


def spec(reward=None, **more):
    paid = {} if reward is None else {"reward": reward}
    return RewardSpec.model_validate({"environment": "test/thing", **paid, **more})


def ramp(x, low, high):
    return {"x": x, "to": {"shape": "ramp", "low": low, "high": high}}


def near(x, at, margin):
    return {"x": x, "to": {"shape": "tolerance", "lower": at, "upper": at, "margin": margin}}


def above(x, than):
    return {"to": {"shape": "indicator", "when": {"op": "gt", "x": x, "than": than}}}


def codes(specification, columns=None, is_first=None):
    if columns is None:
        columns, is_first = rows()
    return {(f.code, f.path) for f in check_evidence(specification, SIGNALS, columns, is_first, 0.1)}


def test_a_fair_specification_has_no_findings():
    assert codes(spec({"combine": "product", "of": [ramp(X, -2.0, 2.0), near(Y, 0.0, 1.0)]})) == set()


@pytest.mark.parametrize(
    ("reward", "code", "path"),
    [
        (ramp(Y, 20.0, 30.0), "L3_UNREACHABLE", "reward"),
        (ramp(Y, -9.0, -8.0), "L3_TRIVIAL", "reward"),
        (near(Y, 0.0, 100.0), "L3_MARGIN", "reward"),
        (ramp(Y, 20.0, 30.0), "L4_FLAT", ""),
        ({"combine": "min", "of": [ramp(X, -2.0, 2.0), ramp(Y, -9.0, -8.0)]}, "L4_FLAT_TERM", "reward.of[1]"),
        (ramp(Y, -9.0, -8.0), "L4_SATURATED", ""),
        (above(Y, 0.995), "L4_SPARSE", ""),
        (above(Y, 0.0), "L4_NO_GRADIENT", ""),
        ({"combine": "min", "of": [ramp(X, 0.0, 1.0), ramp(X, 0.0, 1.0)]}, "L4_DUPLICATE_TERM", "reward.of[1]"),
        (near(X, 0.0, 0.5), "L4_STILL", ""),
    ],
)
def test_each_problem_has_its_code(reward, code, path):
    assert (code, path) in codes(spec(reward))
    assert code in ADVICE


def test_few_rows_numbers_that_are_not_finite_and_stages_never_seen():
    columns, is_first = rows(episodes=3)
    assert ("L4_ROWS", "") in codes(spec(ramp(X, -2.0, 2.0)), columns, is_first)
    stages = [
        {"reward": ramp(X, 0.0, 9.0), "advance_when": {"op": "gt", "x": X, "than": 99.0}},
        {"reward": ramp(Y, 0.0, 1.0)},
    ]
    assert ("L4_STAGE", "stages[1]") in codes(spec(stages=stages), columns, is_first)
    columns["x"][7] = np.nan
    assert codes(spec(ramp(X, -2.0, 2.0)), columns, is_first) == {("L4_NOT_FINITE", "")}


def test_spearman_is_the_correlation_of_ranks():
    assert spearman([1, 2, 3, 4], [10, 20, 40, 30]) == pytest.approx(0.8)
    assert spearman([1, 1, 2], [5, 5, 9]) == pytest.approx(1)
    assert spearman([1, 2, 2, 3], [1, 3, 2, 4]) == pytest.approx(0.9486833)
    assert math.isnan(spearman([1, 1], [1, 2]))


def test_rewards_agree_with_what_ranks_alike():
    columns, is_first = rows()
    up = columns["x"].astype(np.float32)
    same, opposite = agreement(up, np.exp(up), is_first), agreement(up, -up, is_first)
    assert same.steps == pytest.approx(1)
    assert same.segments > 0.9
    assert opposite.segments == pytest.approx(-1)
    assert (same.rows, same.segment_count) == (50 * 99, 50)
    noise = columns["y"].astype(np.float32)
    assert check_meaning(up, is_first, [up * 2], -up) == []
    found = check_meaning(up, is_first, [noise], up**3)
    assert [one.code for one in found] == ["L5_PARAPHRASE", "L5_OPPOSITE"]
