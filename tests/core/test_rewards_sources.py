"""The sources that the platform brings: what they pay, and what they say to people who err."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError

from manyheads.environment.contract import Environment, Signal
from manyheads.errors import ManyheadsError
from manyheads.rewards.contract import RewardSource
from manyheads.rewards.sources import ENVIRONMENT, KINDS, PYTHON, SPEC, load_spec
from manyheads.trust import allow_module

allow_module(__name__)

INSTANCE = Environment(
    "test/thing", factory=lambda options: None, signals=(Signal("height", "m"), Signal("control[0]"))
).instance()
DOCUMENT = {
    "environment": "test/thing",
    "reward": {"x": {"signal": "height"}, "to": {"shape": "ramp", "low": 0.0, "high": 2.0}},
}


def build(kind, **settings):
    return kind.build(kind.settings.model_validate(settings), INSTANCE)


def python(function, signals=("height",)):
    return build(PYTHON, function=f"{__name__}:{function}", signals=list(signals))


def tall(signals):
    return signals["height"] / 2


def tall_until_the_roof(signals):
    return signals["height"], signals["height"] > 2


def broken(signals):
    return signals["width"]


def short(signals):
    return signals["height"].sum()


def plain(signals):
    return 1.0


def endless(signals):
    return signals["height"] / 0


def test_the_simulators_reward_is_its_signal():
    source = build(ENVIRONMENT)
    assert source.own_rows_only
    reward, terminated = source.label({"reward": np.array([3.0, -1.5, 2.0])})
    assert reward.tolist() == [0, -1.5, 2]
    assert reward.dtype == np.float32
    assert not terminated.any()


def test_all_kinds_make_reward_sources():
    sources = [build(ENVIRONMENT), build(SPEC, spec=DOCUMENT), python("tall")]
    assert [kind.name for kind in KINDS] == ["environment", "python", "spec"]
    assert all(isinstance(source, RewardSource) for source in sources)
    assert [source.own_rows_only for source in sources] == [True, False, False]


def test_a_specification_is_checked_when_it_is_built():
    build(SPEC, spec=DOCUMENT)
    wrong = {**DOCUMENT["reward"], "x": {"signal": "heigth"}}
    with pytest.raises(ManyheadsError, match=r"L2_UNKNOWN_SIGNAL.*Did you mean height"):
        build(SPEC, spec={**DOCUMENT, "reward": wrong})
    with pytest.raises(ManyheadsError, match="L2_ENVIRONMENT"):
        build(SPEC, spec={**DOCUMENT, "environment": "test/other"})


def test_an_effort_reads_the_instances_controls():
    assert build(SPEC, spec=DOCUMENT).signals == {"height"}
    assert build(SPEC, spec={**DOCUMENT, "effort": {"weight": 0.1}}).signals == {"height", "control[0]"}


def test_a_function_gives_reward_and_termination():
    rows = {"height": torch.tensor([[1.0, 3.0], [1.0, 3.0]])}
    reward, terminated = python("tall").label(rows)
    assert reward.tolist() == [[0, 0], [0.5, 1.5]]
    assert not terminated.any()
    assert python("tall_until_the_roof").label(rows).terminated.tolist() == [[False, False], [False, True]]
    assert isinstance(python("tall").label({"height": np.ones(3)}).reward, np.ndarray)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("broken", "raised KeyError: 'width'"),
        ("short", r"reward as a tensor of shape \(3,\).*returned shape \(\)"),
        ("plain", "returned float"),
        ("endless", "not finite"),
    ],
)
def test_a_functions_mistakes_are_named(function, message):
    with pytest.raises(ManyheadsError, match=rf"{__name__}:{function} .*{message}"):
        python(function).label({"height": np.ones(3)})


def test_a_function_that_is_not_there_is_named():
    with pytest.raises(ManyheadsError, match="Did you mean tall"):
        python("tal")
    with pytest.raises(ManyheadsError, match="absent:f"):
        build(PYTHON, function="absent:f", signals=["height"])
    with pytest.raises(ManyheadsError, match="can't be called"):
        python("DOCUMENT")
    with pytest.raises(ManyheadsError, match=r"no signal of test/thing named 'heigth'. Did you mean height"):
        python("tall", ["heigth"])
    for wrong in ("module.function", "os:system('ls')", "a b:c"):
        with pytest.raises(ValidationError):
            PYTHON.settings.model_validate({"function": wrong, "signals": ["height"]})


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump])
@pytest.mark.parametrize("task", [False, True])
def test_load_spec_reads_bare_files_and_task_files(tmp_path, write, task):
    success = {"when": {"op": "gt", "x": {"signal": "height"}, "than": 1.5}}
    document = {**DOCUMENT, "success": success}
    if task:
        reward = {"source": "spec", "spec": DOCUMENT}
        document = {"version": 1, "environment": "test/thing", "reward": reward, "success": success}
    file = tmp_path / "reward.spec"
    file.write_text(write(document))
    source = load_spec(file)
    height = np.array([[2.0, 2.0], [1.0, 4.0]])
    assert source.label({"height": height}).reward.tolist() == [[0, 0], [0.5, 1]]
    assert source.success({"height": height}).tolist() == [[False, False], [False, True]]


def test_what_listings_need_imports_no_torch():
    modules = "manyheads.rewards.sources, manyheads.rewards.validate, manyheads.rewards.describe"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
