"""`manyheads reward check` as people and programs see it."""

import json

import pytest
import yaml
from click.testing import CliRunner

from manyheads.cli.reward import reward
from manyheads.environment.contract import Environment, Signal
from manyheads.errors import ManyheadsError

SPEC = {
    "environment": "test/thing",
    "reward": {"x": {"signal": "height"}, "to": {"shape": "tolerance", "lower": 1.2, "margin": 0.5}},
}


@pytest.fixture
def check(tmp_path, monkeypatch):
    height = Signal("height", "m", low=0.0)
    thing = Environment("test/thing", factory=lambda options: None, signals=(height,))
    other = Environment("test/other", factory=lambda options: None, signals=(Signal("height", "m"),))
    known = type("Known", (), {"environments": {"test/thing": thing, "test/other": other}})
    monkeypatch.setattr("manyheads.cli.reward.registry", lambda: known)

    def run(document, *arguments):
        file = tmp_path / "spec.yaml"
        file.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
        return CliRunner().invoke(reward, ["check", str(file), *arguments])

    return run


def test_a_good_file_is_said_back(check):
    result = check(SPEC)
    assert result.exit_code == 0
    assert result.output == ("A step earns height at least 1.2 m: 1 there, falling to 0.1 at 0.5 m outside it\n")


def test_a_bad_file_fails_by_code(check):
    result = check({**SPEC, "effort": {"weight": 0.1}})
    assert result.exit_code == 1
    assert result.output.startswith("error: L2_NO_CONTROL at effort: ")
    assert check("a: .nan").output == "error: L0_NUMBER: Line 1: .nan is not a finite number.\n"


def test_json_for_programs(check):
    result = check({**SPEC, "rewrd": 1}, "--json")
    assert result.exit_code == 1
    record = json.loads(result.output)
    assert not record["valid"]
    assert record["findings"] == [
        {
            "code": "L1_SCHEMA",
            "severity": "error",
            "path": "rewrd",
            "message": "There is no such key here; leave it out.",
            "advice": "Use the keys and values of the grammar, spelt exactly so.",
        }
    ]
    assert json.loads(check(SPEC, "--json").output)["description"].startswith("A step earns height")


def test_a_task_file_and_another_environment(check):
    task = {"version": 1, "environment": "test/thing", "reward": {"source": "spec", "spec": SPEC}, "episode_steps": 9}
    assert check(task).exit_code == 0
    result = check(task, "--environment", "test/other")
    assert result.exit_code == 1
    assert "L2_ENVIRONMENT at environment: This specification is written for test/thing" in result.output


def test_options_are_checked(check):
    for setting, message in [("size=3", "no option of test/thing named 'size'"), ("size", "NAME=VALUE")]:
        problem = check(SPEC, "--set", setting).exception
        assert isinstance(problem, ManyheadsError)
        assert message in str(problem)


def test_signals_are_listed_with_unit_and_range(check):
    result = CliRunner().invoke(reward, ["signals", "test/thing"])
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    assert ["height", "m", "0", "…"] in lines
    record = json.loads(CliRunner().invoke(reward, ["signals", "test/thing", "--json"]).output)
    assert [signal["name"] for signal in record] == ["reward", "height"]
