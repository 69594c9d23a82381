"""`make demo` with a command in place of manyheads that only notes what it is asked to do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

STUB = """#!/bin/sh
echo "$1" >> calls
if [ "$1" = goal ]; then
  for word in "$@"; do
    [ "$before" = --out ] && mkdir -p "$(dirname "$word")" && touch "$word"
    before=$word
  done
  exit "${VERDICT:-0}"
fi
"""


@pytest.fixture
def demo(tmp_path):
    shutil.copy(Path(__file__).parents[1] / "Makefile", tmp_path)
    stub = tmp_path / ".venv" / "bin" / "manyheads"
    stub.parent.mkdir(parents=True)
    stub.write_text(STUB)
    stub.chmod(0o755)
    for name in ("pyproject.toml", "constraints.txt", ".venv/.installed"):
        (tmp_path / name).touch()

    def run(goal, verdict=0):
        """Whether make succeeded, and what it called."""
        (tmp_path / "calls").write_text("")
        environment = {**os.environ, "VERDICT": str(verdict)}
        done = subprocess.run(["make", "demo", f"GOAL={goal}"], cwd=tmp_path, env=environment, capture_output=True)
        return done.returncode == 0, (tmp_path / "calls").read_text().split()

    return run


def test_a_goal_that_the_world_has_hardly_seen_gets_no_head_however_often(demo):
    for _ in range(2):
        assert demo("fly", verdict=3) == (False, ["train", "goal", "evaluate", "report"])
    assert demo("fly") == (True, ["train", "goal", "finetune", "evaluate", "report"])
    assert demo("fly") == (True, ["train", "finetune", "evaluate", "report"])


def test_a_refused_goal_ends_it(demo):
    assert demo("fly", verdict=1) == (False, ["train", "goal"])


def test_an_empty_goal_is_refused_before_anything_runs(demo):
    assert demo("") == (False, [])


def test_goals_that_differ_in_a_sign_have_files_of_their_own(demo):
    assert "goal" in demo("park at -1 m")[1]
    assert "goal" in demo("park at 1 m")[1]
