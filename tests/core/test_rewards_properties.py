"""Whatever the grammar allows can be compiled, pays within [0, 1], and doesn't care how rows are laid out."""

import json

import numpy as np
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from manyheads.environment.contract import Signal
from manyheads.rewards.coverage import coverage
from manyheads.rewards.describe import describe, summarize
from manyheads.rewards.sources import SpecSource
from manyheads.rewards.spec import RewardSpec
from manyheads.rewards.validate import check, check_text

NAMES = ["height", "speed", "angle", "control[0]", "control[1]"]
SIGNALS = [Signal(name, "1") for name in NAMES]
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
        st.fixed_dictionaries(
            {"op": st.sampled_from(["lt", "le", "gt", "ge"]), "x": expressions, "than": numbers}
        ),
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
        "sigmoid": st.sampled_from(
            ["gaussian", "hyperbolic", "long_tail", "reciprocal", "cosine", "linear", "quadratic", "tanh_squared"]
        ),
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


def parse(document):
    """The specification, or None where the document breaks a rule (then with one of the grammar's own codes)."""
    try:
        return RewardSpec.model_validate(document)
    except ValidationError as error:
        assert all(problem["type"].startswith("L2_") for problem in error.errors()), error
        return None


readings = st.one_of(st.floats(-10, 10), st.floats(allow_nan=False, allow_infinity=False))


@settings(max_examples=150, deadline=None)
@given(documents, st.data())
def test_every_valid_specification_pays_between_0_and_1_in_any_layout(document, data):
    spec = parse(document)
    if spec is None:
        return
    rows = st.lists(readings, min_size=12, max_size=12)
    columns = {name: np.array(data.draw(rows)).reshape(4, 3) for name in NAMES}
    source = SpecSource(spec)
    reward, terminated = source.label(columns)
    assert reward.dtype == np.float32
    assert reward.shape == terminated.shape == (4, 3)
    assert np.isfinite(reward).all()
    assert ((reward >= 0) & (reward <= 1)).all()
    assert (reward[0] == 0).all()
    assert not terminated.any()
    first = torch.zeros(3, 4, dtype=torch.bool)
    first[:, 0] = True
    turned = {name: torch.as_tensor(column.T.copy()) for name, column in columns.items()}
    other = source.label(turned, first)
    np.testing.assert_array_equal(other.reward.numpy().T, reward)
    if spec.success is not None:
        along_rows = source.success(columns)
        np.testing.assert_array_equal(source.success(turned, first, time=1).numpy().T, along_rows)


@settings(max_examples=80, deadline=None)
@given(documents)
def test_every_valid_specification_is_read_back_from_json_and_yaml_and_said_in_words(document):
    spec = parse(document)
    if spec is None:
        return
    plain = spec.model_dump(mode="json", exclude_none=True)
    for text in (json.dumps(plain), yaml.safe_dump(plain)):
        if len(text) < 16 * 1024:
            again, findings = check_text(text)
            assert again == spec, findings
    assert "{" not in describe(spec, SIGNALS)
    assert "\n" not in summarize(spec, SIGNALS)
    assert all(finding.code.startswith("L2_") for finding in check(spec, SIGNALS))


@settings(max_examples=30, deadline=None)
@given(documents)
def test_coverage_agrees_with_labels(document):
    spec = parse(document)
    if spec is None:
        return
    random = np.random.default_rng(0)
    columns = {name: random.normal(size=(70, 2)) for name in NAMES}
    first = random.random((70, 2)) < 0.05
    first[0] = True
    found = coverage(spec, columns, first)
    reward = SpecSource(spec).label(columns, first).reward[~first]
    assert found.rows == len(reward)
    assert np.isclose(found.total.mean, reward.mean())
    assert found.some == (reward > 0.05).mean()
    assert found.total.mean - 1e-6 <= found.best_stretch <= found.total.high + 1e-6
