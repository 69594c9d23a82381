"""Whatever the grammar allows can be compiled, pays within [0, 1], and doesn't care how rows are laid out."""

import json

import numpy as np
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from reward_grammar import NAMES, documents, totals

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


SECONDS = 0.02


def columns_of(data):
    rows = st.lists(readings, min_size=24, max_size=24)
    return {name: np.array(data.draw(rows)).reshape(8, 3) for name in NAMES}


def check_every_layout(document, data):
    """Rewards in [0, 1]; one by one, in two parts and all at once they are the same, and so is what is remembered."""
    spec = parse(document)
    if spec is None:
        return
    columns = columns_of(data)
    source = SpecSource(spec, step_seconds=SECONDS)
    reward, terminated = source.label(columns)
    assert reward.dtype == np.float32
    assert reward.shape == terminated.shape == (8, 3)
    assert np.isfinite(reward).all()
    assert ((reward >= 0) & (reward <= 1)).all()
    assert (reward[0] == 0).all()
    assert not terminated[0].any()
    assert terminated.any() <= any(one.constraint == "terminate" for one in spec.constraints)

    signals = {name: torch.as_tensor(column) for name, column in columns.items()}
    first = torch.zeros(8, 3, dtype=torch.bool)
    first[0] = first[4, 1] = first[6, 2] = True
    whole = source.unroll(signals, first)
    assert whole.memory.shape == (8, 3, spec.memory_size)
    assert whole.memory.dtype == torch.float32
    assert whole.memory.isfinite().all()
    memory = source.init(3)
    for t in range(8):
        step = source.step({name: column[t] for name, column in signals.items()}, memory, first[t])
        memory = step.memory
        for one, all_at_once in zip(step, whole, strict=True):
            torch.testing.assert_close(one, all_at_once[t], rtol=0, atol=1e-6)
    rest = source.unroll({name: column[5:] for name, column in signals.items()}, first[5:], whole.memory[4])
    torch.testing.assert_close(rest.reward, whole.reward[5:], rtol=0, atol=1e-6)
    alone = source.label({name: column[:, 1] for name, column in columns.items()}, first[:, 1])
    np.testing.assert_allclose(alone.reward, whole.reward[:, 1], atol=1e-6)
    if spec.success is not None:
        along_rows = source.success(columns)
        turned = {name: column.T.copy() for name, column in columns.items()}
        np.testing.assert_array_equal(source.success(turned, time=1).T, along_rows)


@settings(max_examples=200, deadline=None)
@given(documents, st.data())
def test_every_valid_specification_pays_between_0_and_1_row_by_row_and_all_at_once(document, data):
    check_every_layout(document, data)


@settings(max_examples=60, deadline=None)
@given(totals, st.data())
def test_rows_of_a_total_without_memory_come_in_any_layout(total, data):
    spec = parse({"environment": "test/thing", "reward": total})
    if spec is None or spec.memory_size:
        return
    columns = columns_of(data)
    reward = SpecSource(spec).label(columns).reward
    first = np.zeros((3, 8), bool)
    first[:, 0] = True
    turned = SpecSource(spec).label({name: column.T.copy() for name, column in columns.items()}, first)
    np.testing.assert_array_equal(turned.reward.T, reward)


@settings(max_examples=80, deadline=None)
@given(documents)
def test_every_valid_specification_is_read_back_from_json_and_yaml_and_described(document):
    spec = parse(document)
    if spec is None:
        return
    plain = spec.model_dump(mode="json", exclude_none=True)
    for text in (json.dumps(plain), yaml.safe_dump(plain), spec.canonical_json):
        if len(text) < 16 * 1024:
            again, findings = check_text(text)
            assert again == spec, findings
            assert again.fingerprint == spec.fingerprint
    assert "{" not in describe(spec, SIGNALS)
    assert "\n" not in summarize(spec, SIGNALS)
    assert all(finding.code.startswith("L2_") for finding in check(spec, SIGNALS))


@settings(max_examples=40, deadline=None)
@given(documents)
def test_coverage_agrees_with_labels(document):
    spec = parse(document)
    if spec is None:
        return
    random = np.random.default_rng(0)
    columns = {name: random.normal(size=(70, 2)) for name in NAMES}
    first = random.random((70, 2)) < 0.05
    first[0] = True
    found = coverage(spec, columns, first, SECONDS)
    reward = SpecSource(spec, step_seconds=SECONDS).label(columns, first).reward[~first]
    assert found.rows == len(reward)
    assert np.isclose(found.total.mean, reward.mean())
    assert found.some == (reward > 0.05).mean()
    assert found.total.mean - 1e-6 <= found.best_stretch <= found.total.high + 1e-6
    assert all(0 <= spread.low <= spread.high <= 1 for spread in found.terms.values())
