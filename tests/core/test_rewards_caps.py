"""Random specifications and an independent checker agree on what is too large, through every door (`-m slow -s`)."""

import json
from collections import Counter
from pathlib import Path

import pytest
from reward_caps import Drawn, broken_caps

from manyheads import ManyheadsError, Signal, load_task
from manyheads.rewards.finding import errors
from manyheads.rewards.validate import check_text

SIGNALS = [Signal(name, "1") for name in ("height", "speed", "width", "control[0]")]
CODES = {"L2_DEPTH", "L2_SIZE", "L0_SIZE", "L0_DEPTH", "L1_SCHEMA"}


def compare(number: int, seed: int) -> Counter[str]:
    """Counts of verdicts; a specification that is accepted breaks no limit, and one that breaks none is no larger."""
    drawn, counts = Drawn(seed), Counter[str]()
    for _ in range(number):
        spec, own = drawn.specification(), drawn.success()
        task = {"version": 1, "environment": "test/thing", "episode_steps": 1000}
        doors = {
            "specification": (spec, None),
            "task": ({**task, "reward": {"source": "spec", "spec": spec}}, None),
            "task with success": ({**task, "reward": {"source": "spec", "spec": spec}, "success": own}, own),
        }
        for door, (document, success) in doors.items():
            found, findings = check_text(json.dumps(document), SIGNALS)
            too_large = [one for one in errors(findings) if one.code in CODES]
            broken = broken_caps(spec) or (broken_caps(spec, success) if door != "specification" and success else [])
            if success is not None and not broken_caps(spec):
                broken = [name for name in broken if name not in ("different expressions", "size")]  # counted apart
            counts["accepted" if found is not None else "too large" if too_large else "refused otherwise"] += 1
            assert not (found is not None and broken), (door, broken, document)
            if too_large and not broken:
                assert _only_by_size(too_large, document, success), (door, list(map(str, too_large)), document)
    return counts


def _only_by_size(findings: list, document: dict, success: dict | None) -> bool:
    """Limits of the whole text, and of a task's `success` counted by itself, which the checker leaves out."""
    if success is not None and len({json.dumps(part) for part in _read(success)}) > 8:
        return True
    return len(json.dumps(document)) > 16 * 1024 or all(one.code == "L0_DEPTH" for one in findings)


def _read(data: object) -> list:
    if isinstance(data, dict):
        return [*([data["x"]] if "x" in data else []), *(x for item in data.values() for x in _read(item))]
    return [x for item in data for x in _read(item)] if isinstance(data, list) else []


def test_the_checker_and_the_checks_agree():
    counts = compare(150, seed=0)
    assert min(counts["accepted"], counts["too large"]) > 30


@pytest.mark.slow
def test_the_checker_and_the_checks_agree_on_many():
    counts = compare(9_000, seed=1)
    print(dict(counts))
    assert sum(counts.values()) == 27_000


def test_a_task_s_own_success_has_the_same_limits_where_the_reward_is_another(tmp_path: Path):
    """The door past the checks: a task without a specification."""
    drawn, counts = Drawn(7), Counter[str]()
    path = tmp_path / "task.yaml"
    for _ in range(60):
        success = json.loads(json.dumps(drawn.success()).replace("height", "pole_angle").replace("width", "reward"))
        success = json.loads(json.dumps(success).replace('"speed"', '"angular_velocity"'))
        task = {"version": 1, "environment": "gymnasium/Pendulum-v1", "episode_steps": 1000}
        path.write_text(json.dumps({**task, "reward": {"source": "environment"}, "success": success}))
        broken = broken_caps({"environment": "x", "reward": {}}, success)
        try:
            load_task(path)
        except ManyheadsError:
            counts["refused"] += 1
        else:
            counts["taken"] += 1
            assert not broken, (broken, success)
    assert counts["refused"] > 5
