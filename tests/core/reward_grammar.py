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


expressions = st.recursive(
    leaves,
    lambda children: st.one_of(
        st.fixed_dictionaries({"op": st.sampled_from(["abs", "neg", "wrap_angle"]), "of": children}),
        st.fixed_dictionaries({"op": st.sampled_from(["norm", "min", "max", "mean"]), "of": lists(children)}),
        st.fixed_dictionaries({"op": st.sampled_from(["diff", "dist"]), "of": lists(children, 2, 2)}),
    ),
    max_leaves=4,
)
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
terms = st.one_of(
    st.fixed_dictionaries(
        {"x": expressions, "to": tolerances | ramps}, optional={"floor": units, "weight": st.floats(0.01, 10)}
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
documents = st.fixed_dictionaries(
    {"environment": st.just("test/thing"), "reward": totals},
    optional={
        "effort": st.fixed_dictionaries({"weight": st.floats(0.01, 0.2)}),
        "success": st.fixed_dictionaries({"when": predicates, "held_for": st.integers(1, 20)}),
    },
)
