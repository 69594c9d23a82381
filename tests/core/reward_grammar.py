"""Hypothesis strategies for documents in the reward grammar; some break its rules between nodes."""

from typing import get_args

from hypothesis import strategies as st

from manyheads.rewards.spec import Sigmoid

NAMES = ["height", "speed", "angle", "control[0]", "control[1]"]
numbers = st.one_of(st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e6, -1e6]), st.floats(-1e6, 1e6))
units = st.floats(0, 0.99)

leaves = st.one_of(
    st.sampled_from(NAMES).map(lambda name: {"signal": name}),
    numbers.map(lambda number: {"constant": number}),
)


def lists(children, least=1, most=4):
    return st.lists(children, min_size=least, max_size=most)


def reads_something(expression):
    """Most of what is drawn, so that most documents are sound."""
    return expression if "signal" in str(expression) else {"signal": "height"}


expressions = st.recursive(
    leaves,
    lambda children: st.one_of(
        st.fixed_dictionaries({"op": st.sampled_from(["abs", "neg", "wrap_angle"]), "of": children}),
        st.fixed_dictionaries({"op": st.sampled_from(["norm", "min", "max", "mean"]), "of": lists(children)}),
        st.fixed_dictionaries({"op": st.sampled_from(["diff", "dist"]), "of": lists(children, 2, 2)}),
        st.fixed_dictionaries({"op": st.just("rate"), "of": children}),
        st.fixed_dictionaries(
            {
                "op": st.just("window"),
                "take": st.sampled_from(["mean", "min", "max"]),
                "of": children,
                "steps": st.integers(1, 5) | st.just(200),
            }
        ),
    ),
    max_leaves=4,
).map(reads_something)
predicates = st.recursive(
    st.one_of(
        st.fixed_dictionaries({"op": st.sampled_from(["lt", "le", "gt", "ge"]), "x": expressions, "than": numbers}),
        st.builds(
            lambda x, a, b: {"op": "between", "x": x, "lower": min(a, b), "upper": max(a, b)},
            expressions,
            numbers,
            numbers,
        ),
    ),
    lambda children: st.one_of(
        st.fixed_dictionaries({"op": st.sampled_from(["all", "any"]), "of": lists(children, 1, 2)}),
        st.fixed_dictionaries({"op": st.just("not"), "of": children}),
        st.fixed_dictionaries({"op": st.just("held_for"), "of": children, "steps": st.integers(1, 4) | st.just(200)}),
    ),
    max_leaves=3,
)
tolerances = st.fixed_dictionaries(
    {
        "shape": st.just("tolerance"),
        "lower": st.one_of(st.none(), st.floats(-1e6, 0)),
        "upper": st.floats(0, 1e6),
        "margin": st.one_of(st.just(0.0), st.floats(0, 1e6), st.just(5e-324)),
        "sigmoid": st.sampled_from(get_args(Sigmoid)),
        "value_at_margin": st.floats(1e-6, 0.999),
    }
)
ramps = st.fixed_dictionaries({"shape": st.just("ramp"), "low": numbers, "high": numbers})
progress = st.fixed_dictionaries(
    {
        "shape": st.just("progress"),
        "direction": st.sampled_from(["increase", "decrease"]),
        "scale": st.floats(1e-6, 1e6),
    }
)
terms = st.one_of(
    st.fixed_dictionaries(
        {"x": expressions, "to": tolerances | ramps | progress},
        optional={"floor": units, "weight": st.floats(0.01, 10)},
    ),
    st.fixed_dictionaries({"to": st.fixed_dictionaries({"shape": st.just("indicator"), "when": predicates})}),
)
totals = st.recursive(
    terms,
    lambda children: st.fixed_dictionaries(
        {
            "combine": st.sampled_from(["product", "weighted_mean", "min", "geometric_mean"]),
            "of": lists(children, 1, 3),
        },
        optional={"floor": units, "weight": st.floats(0.01, 10)},
    ),
    max_leaves=4,
)
timeouts = st.fixed_dictionaries({}, optional={"timeout": st.integers(1, 4)})
leaving = st.one_of(
    predicates.map(lambda when: {"advance_when": when}),
    st.integers(1, 4).map(lambda steps: {"timeout": steps, "on_timeout": "advance"}),
    st.builds(lambda when, steps: {"advance_when": when, "timeout": steps}, predicates, st.integers(1, 4)),
)
stages = st.builds(
    lambda before, last: [*before, last],
    st.lists(st.builds(lambda total, end: {"reward": total, **end}, totals, leaving), max_size=3),
    st.builds(lambda total, end: {"reward": total, **end}, totals, timeouts),
)
constraints = st.builds(
    lambda kind, when, grace: {**kind, "when": when, "grace": grace},
    st.sampled_from([{"constraint": "gate"}, {"constraint": "penalty", "share": 0.25}, {"constraint": "terminate"}]),
    predicates,
    st.integers(0, 5),
)
rewards = totals.map(lambda total: {"reward": total}) | stages.map(lambda several: {"stages": several})
documents = st.builds(
    lambda paid, rest: {**paid, **rest},
    rewards,
    st.fixed_dictionaries(
        {"environment": st.just("test/thing")},
        optional={
            "constraints": st.lists(constraints, max_size=2),
            "effort": st.fixed_dictionaries({"weight": st.floats(0.01, 0.2)}),
            "success": st.fixed_dictionaries({"when": predicates, "held_for": st.integers(1, 20)}),
        },
    ),
)
"""Documents of the whole grammar."""
