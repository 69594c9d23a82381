"""`manyheads.goal` asks whatever plugin writes goals, and what it gives is written and read back."""

import json
from pathlib import Path

import numpy as np
import pytest

import manyheads
from manyheads import Goal, GoalRequest, ManyheadsError, Reason, RewardSpec, TaskFile, goals
from manyheads.registry import Registry

SPEC = {
    "environment": "gymnasium/CartPole-v1",
    "goal": "Keep the cart left",
    "reward": {
        "combine": "product",
        "of": [{"x": {"signal": "cart_position"}, "to": {"shape": "tolerance", "upper": -0.5, "margin": 1.0}}],
    },
}


class Writers:
    """A registry whose plugins answer in turn."""

    def __init__(self, *answers: Goal | None) -> None:
        self.answers, self.asked = list(answers), list[GoalRequest]()

    def ask(self, hook: str, request: GoalRequest) -> Goal | None:
        assert hook == "write_goal"
        self.asked.append(request)
        return next((answer for answer in self.answers if answer is not None), None)


def written() -> Goal:
    content = {"version": 1, "environment": SPEC["environment"], "reward": {"source": "spec", "spec": SPEC}}
    return Goal(
        sentence="Keep the cart left",
        spec=RewardSpec.model_validate(SPEC),
        task=TaskFile.model_validate(content),
        description="Earns where cart_position is low.",
        reasons=(Reason("left", "which side?", "low values", "lexicon"),),
        warnings=("L4_FLAT: nearly flat",),
        journal=({"call": "decision"},),
    )


def test_a_goal_is_asked_for_written_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writers = Writers(None, written())
    monkeypatch.setattr(goals, "registry", lambda: writers)
    goal = manyheads.goal("Keep the cart left", "gymnasium/CartPole-v1", options={"action_repeat": 2}, tries=1)
    [request] = writers.asked
    assert (request.environment, request.options, request.world, request.limits) == (
        "gymnasium/CartPole-v1",
        {"action_repeat": 2},
        None,
        {"tries": 1},
    )
    for line in ("Keep the cart left", "warning: L4_FLAT: nearly flat", "which side? low values (lexicon)"):
        assert line in str(goal).splitlines()
    monkeypatch.undo()
    task = goal.write(tmp_path / "left.yaml")
    assert task.content == goal.task
    assert task.reward.label({"cart_position": np.array([0.0, -1.0, 0.5])}).reward[1] == 1.0
    assert [json.loads(line) for line in (tmp_path / "left.jsonl").read_text().splitlines()] == [*goal.journal]
    with pytest.raises(ManyheadsError, match=r"a task file's name ends in \.yaml"):
        goal.write(tmp_path / "left.txt")


def test_where_no_plugin_writes_goals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goals, "registry", lambda: Registry([]))
    with pytest.raises(ManyheadsError, match="No installed plugin writes goals; manyheads_glam does"):
        manyheads.goal("Keep the cart left", "gymnasium/CartPole-v1")
