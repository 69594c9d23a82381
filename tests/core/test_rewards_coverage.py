"""How much of recorded experience earns anything under a specification."""

import numpy as np
import pytest

from manyheads.errors import ManyheadsError
from manyheads.rewards.coverage import coverage
from manyheads.rewards.spec import RewardSpec

SPEC = RewardSpec.model_validate(
    {
        "environment": "test/thing",
        "reward": {
            "combine": "product",
            "of": [
                {"x": {"signal": "x"}, "to": {"shape": "ramp", "low": 0.0, "high": 1.0}},
                {"x": {"signal": "y"}, "to": {"shape": "ramp", "low": 0.0, "high": 1.0}, "floor": 0.5},
            ],
        },
        "success": {"when": {"op": "gt", "x": {"signal": "x"}, "than": 0.9}, "held_for": 3},
    }
)


def test_shares_terms_stretches_and_successes():
    x = np.zeros((201, 1))
    x[101:] = 1.0
    found = coverage(SPEC, {"x": x, "y": np.ones((201, 1))})
    assert (found.rows, found.episodes, found.successes) == (200, 1, 1)
    assert found.some == found.much == 0.5
    assert found.best_stretch == 1.0
    assert found.total.mean == 0.5
    assert len(found.total.quantiles) == 10
    assert found.terms["reward.of[0]"].std == pytest.approx(0.5)
    assert (found.terms["reward.of[1]"].low, found.terms["reward.of[1]"].high) == (1.0, 1.0)


def test_a_stretch_lies_inside_one_episode():
    first = np.zeros(80, bool)
    first[[0, 40]] = True
    x = np.zeros(80)
    x[20:60] = 1.0  # 20 good rows at the end of the first episode, 19 at the start of the second
    found = coverage(SPEC, {"x": x, "y": np.ones(80)}, first)
    assert found.best_stretch == pytest.approx(20 / 39)
    assert (found.rows, found.episodes, found.successes) == (78, 2, 2)


def test_no_experience_is_said():
    with pytest.raises(ManyheadsError, match="no experience"):
        coverage(SPEC, {"x": np.ones((1, 4)), "y": np.ones((1, 4))})
