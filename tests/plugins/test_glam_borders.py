"""Sentences at the edge become a task or one line: never Python's words, never another number unsaid."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from manyheads import ManyheadsError, load_task
from manyheads.cli import manyheads


@pytest.mark.parametrize(
    ("goal", "said"),
    [
        ("Drive the cart to the right at 10000000 m/s", "`10000000 m/s` is too much: numbers of a reward lie within"),
        (
            "Drive the cart to the left faster than 1000001 m/s",
            "numbers of a reward lie within ±1,000,000",
        ),
        ("Keep the cart at 3 m", "can't be reached: cart position lies between -1.8 and 1.8 m"),
        ("go left \ud800", "holds half a character"),
        ("go left " + "9" * 600, "1 to 500 characters"),
        ("go \x1b[31mleft\x1b[0m", None),
        ("Keep the cart at -0.0 m", None),
        ("Keep the cart at 0.000000000001 m", None),
    ],
)
def test_a_goal_at_the_edge(goal: str, said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("none.jsonl").write_text("{}\n")
    model = ["--model", "scripted:none.jsonl"]
    result = CliRunner().invoke(
        manyheads, ["goal", goal, "--environment", "dmc/cartpole", "--yes", "--out", "g.yaml", *model]
    )
    if said is None and result.exception is None:
        assert load_task(Path("g.yaml")).goal == goal.strip()
        assert "\x1b" not in result.output
        return
    assert isinstance(result.exception, ManyheadsError)
    assert said is None or said in str(result.exception)
    assert not Path("g.yaml").exists()
