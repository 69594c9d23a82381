"""A specification said back in words that a person can hold against what was meant."""

from manyheads.environment.contract import Signal
from manyheads.rewards.describe import describe, summarize
from manyheads.rewards.spec import RewardSpec

SIGNALS = (
    Signal("cart_position", "m", low=-1.8, high=1.8, description="metres right of the centre; negative is left"),
    Signal("pole_angle_cosine", "1"),
    Signal("speed", "m/s"),
    Signal("in_target", "1", "boolean"),
    Signal("finger[0]", "m"),
)


def spec(reward, **more):
    return RewardSpec.model_validate({"environment": "test/thing", "reward": reward, **more})


def term(x, to, **more):
    return {"x": {"signal": x}, "to": to, **more}


LEFT = term("cart_position", {"shape": "tolerance", "upper": -0.8, "margin": 1.0}, floor=0.25)
LOW = term("pole_angle_cosine", {"shape": "ramp", "low": 1.0, "high": -1.0})
CAUGHT = {"to": {"shape": "indicator", "when": {"op": "gt", "x": {"signal": "in_target"}, "than": 0.5}}}


def test_every_part_is_said():
    slow = {"op": "not", "of": {"op": "ge", "x": {"signal": "speed"}, "than": 0.5}}
    left = {"op": "between", "x": {"signal": "cart_position"}, "lower": -1.5, "upper": -0.7}
    whole = spec(
        {"combine": "product", "of": [LEFT, {"combine": "weighted_mean", "of": [LOW, {**CAUGHT, "weight": 2.0}]}]},
        effort={"weight": 0.1},
        success={"when": {"op": "all", "of": [slow, left]}, "held_for": 25},
    )
    assert describe(whole, SIGNALS) == (
        "A step earns the product of:\n"
        "  - cart position at most -0.8 m: 1 there, falling to 0.1 at 1 m outside it, never less than 0.25\n"
        "  - the weighted mean of:\n"
        "    - pole angle cosine as low as -1: 0 at 1, 1 at -1, evenly between (weight 1)\n"
        "    - 1 while in target, else 0 (weight 2)\n"
        "Full control inputs cost 10% of it, smaller ones less.\n"
        "Success: speed is below 0.5 m/s and cart position is between -1.5 and -0.7 m, for 25 steps in a row.\n"
        "Signals:\n"
        "  cart position: metres right of the centre; negative is left"
    )
    assert summarize(whole, SIGNALS) == ("cart position at most -0.8 m; pole angle cosine as low as -1; in target")


def test_opposites():
    any_of = {"op": "any", "of": [CAUGHT["to"]["when"], {"op": "le", "x": {"signal": "speed"}, "than": 2.0}]}
    neither = spec({"to": {"shape": "indicator", "when": {"op": "not", "of": any_of}}})
    assert summarize(neither, SIGNALS) == "not in target and speed is above 2 m/s"


def test_expressions():
    distance = {
        "op": "dist",
        "of": [{"signal": "finger[0]"}, {"op": "abs", "of": {"signal": "cart_position"}}] + [{"constant": 0.5}] * 2,
    }
    near = spec({"x": distance, "to": {"shape": "tolerance", "lower": 0.0, "upper": 0.0}})
    assert describe(near) == (
        "A step earns the distance from (finger[0], the size of cart position) to (0.5, 0.5) at 0: 1 there, 0 elsewhere"
    )
    assert "at 0 m: 1 there" in describe(near, SIGNALS)
