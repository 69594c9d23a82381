"""Whatever the grammar allows can be compiled, pays within [0, 1], and doesn't care how rows are laid out."""

import json

import numpy as np
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from reward_grammar import NAMES, documents

from manyheads.environment.contract import Signal
from manyheads.rewards.coverage import coverage
from manyheads.rewards.describe import describe, summarize
from manyheads.rewards.sources import SpecSource
from manyheads.rewards.spec import RewardSpec
from manyheads.rewards.validate import check, check_text

SIGNALS = [Signal(name, "1") for name in NAMES]


def parse(document):
    """The specification, or None where the document breaks a rule between nodes, with a code of the grammar's."""
    try:
        return RewardSpec.model_validate(document)
    except ValidationError as error:
        if any(not problem["type"].startswith("L2_") for problem in error.errors()):
            raise
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
