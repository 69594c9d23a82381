"""What a specification remembers of an episode: rates, windows, held conditions, stages, constraints."""

import math

import numpy as np
import pytest
import torch

from manyheads.errors import ManyheadsError
from manyheads.rewards.sources import SpecSource, episode_succeeded
from manyheads.rewards.spec import RewardSpec

X = {"signal": "x"}
AT_LEAST_1 = {"op": "ge", "x": X, "than": 1.0}


def source(reward=None, seconds=0.5, **more):
    document = {"environment": "test/thing", **more}
    if reward is not None:
        document["reward"] = reward
    return SpecSource(RewardSpec.model_validate(document), step_seconds=seconds)


def pays(reward=None, x=(), seconds=0.5, is_first=None, **more):
    columns = {"x": np.array(x, float)}
    return source(reward, seconds, **more).label(columns, is_first).reward.tolist()


def ramp(x, low=0.0, high=10.0):
    return {"x": x, "to": {"shape": "ramp", "low": low, "high": high}}


def indicator(when):
    return {"to": {"shape": "indicator", "when": when}}


def test_a_rate_is_the_change_per_second_and_starts_again_with_each_episode():
    assert pays(ramp({"op": "rate", "of": X}), [5, 6, 8, 3]) == pytest.approx([0, 0.2, 0.4, 0])
    starts = [True, False, True, False]
    assert pays(ramp({"op": "rate", "of": X}), [0, 1, 5, 6], is_first=starts) == pytest.approx([0, 0.2, 0, 0.2])
    with pytest.raises(ManyheadsError, match="how long a step takes"):
        pays(ramp({"op": "rate", "of": X}), [1, 2], seconds=None)


def test_the_rate_of_an_angle_goes_the_shorter_way_round():
    angle = {"op": "rate", "of": {"op": "wrap_angle", "of": X}}
    turned = [math.pi - 0.1, -math.pi + 0.1]
    assert pays(ramp(angle, 0.0, 1.0), turned) == pytest.approx([0, 0.4], abs=1e-5)


def test_progress_pays_for_change_in_its_direction():
    to = {"shape": "progress", "direction": "decrease", "scale": 4.0}
    assert pays({"x": X, "to": to}, [5, 4, 4, 6, 2]) == pytest.approx([0, 0.5, 0, 0, 1])


@pytest.mark.parametrize(("take", "values"), [("mean", [0, 2, 3, 5]), ("min", [0, 1, 1, 3]), ("max", [0, 3, 5, 7])])
def test_a_window_sees_the_newest_rows_of_the_episode(take, values):
    window = {"op": "window", "take": take, "of": X, "steps": 3}
    got = pays(ramp(window), [1, 3, 5, 7])
    assert got == pytest.approx([value / 10 for value in values])


def test_held_for_counts_rows_in_a_row_but_not_the_start():
    held = indicator({"op": "held_for", "of": AT_LEAST_1, "steps": 2})
    assert pays(held, [1, 1, 1, 0, 1, 1]) == [0, 0, 1, 0, 0, 1]


STAGES = [
    {"reward": ramp(X, 0.0, 1.0), "advance_when": AT_LEAST_1},
    {"reward": ramp(X, 1.0, -1.0)},
]


def test_stages_are_paid_in_turn_and_finishing_one_never_lowers_the_reward():
    assert pays(stages=STAGES, x=[9, 0.5, 1, 0, -1, 1]) == pytest.approx([0, 0.25, 0.5, 0.75, 1, 0.5])
    assert pays(stages=STAGES, x=[0, 1, 0, 0.5], is_first=[True, False, True, False]) == pytest.approx(
        [0, 0.5, 0, 0.25]
    )


def test_a_timeout_goes_back_or_on():
    patient = [{**STAGES[0], "timeout": 2, "on_timeout": "advance"}, STAGES[1]]
    assert pays(stages=patient, x=[0, 0, 0, 0]) == pytest.approx([0, 0, 0.75, 0.75])
    hasty = [STAGES[0], {**STAGES[1], "timeout": 2}]
    assert pays(stages=hasty, x=[0, 1, 0, 0, 0]) == pytest.approx([0, 0.5, 0.75, 0, 0])


def test_constraints_gate_reduce_and_end_after_their_grace():
    always = indicator({"op": "ge", "x": X, "than": -9.0})
    high = {"op": "gt", "x": X, "than": 1.0}
    x = [0, 2, 0, 2]
    assert pays(always, x, constraints=[{"constraint": "gate", "when": high}]) == [0, 0, 1, 0]
    assert pays(always, x, constraints=[{"constraint": "gate", "when": high, "grace": 1}]) == [0, 1, 1, 0]
    assert pays(always, x, constraints=[{"constraint": "penalty", "share": 0.25, "when": high}]) == [0, 0.75, 1, 0.75]
    ends = source(always, constraints=[{"constraint": "terminate", "when": high, "grace": 2}])
    assert ends.label({"x": np.array(x, float)}).terminated.tolist() == [False, False, False, True]


def test_success_can_look_back():
    success = RewardSpec.model_validate(
        {
            "environment": "t",
            "reward": ramp(X),
            "success": {"when": {"op": "ge", "x": {"op": "rate", "of": X}, "than": 2.0}, "held_for": 2},
        }
    ).success
    assert episode_succeeded(success, {"x": np.array([0.0, 1, 2])}, 0.5)
    assert not episode_succeeded(success, {"x": np.array([0.0, 1, 1])}, 0.5)


def test_rewards_can_be_differentiated_where_shapes_can():
    x = torch.tensor([0.0, 1.0, 3.0], requires_grad=True)
    smooth = source({"x": {"op": "rate", "of": X}, "to": {"shape": "tolerance", "lower": 8.0, "margin": 10.0}})
    smooth.unroll({"x": x}, torch.tensor([True, False, False])).reward.sum().backward()
    assert x.grad.abs().min() > 0


def test_the_memory_says_which_stage_it_is():
    stages = source(stages=STAGES)
    assert stages.memory_size == 2
    memory = stages.unroll({"x": torch.tensor([0.0, 0.0, 1.0])}, torch.tensor([True, False, False])).memory
    assert memory.tolist() == [[1, 0], [1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{"reward": ramp(X)}, {"reward": ramp(X)}], "never reached"),
        ([STAGES[0]], "no stage after"),
        ([{**STAGES[0], "timeout": 5, "on_timeout": "advance"}], "no stage after"),
    ],
)
def test_stages_that_lead_nowhere_are_refused(stages, message):
    with pytest.raises(ValueError, match=message):
        source(stages=stages)


def test_a_specification_pays_by_reward_or_by_stages():
    for both in ({}, {"reward": ramp(X), "stages": STAGES}):
        with pytest.raises(ValueError, match="either `reward` or `stages`"):
            RewardSpec.model_validate({"environment": "t", **both})


def test_what_is_remembered_is_limited():
    windows = [ramp({"op": "window", "take": "mean", "of": {"signal": f"x{i}"}, "steps": 200}) for i in range(3)]
    with pytest.raises(ValueError, match="606 numbers to remember are too many"):
        source({"combine": "min", "of": windows})
