"""`manyheads demo` calls one command after the other and continues where it was stopped."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from manyheads.cli import manyheads as command_line
from manyheads.cli.demo import _run, task_file
from manyheads.registry import registry


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs it with commands that only note that they were called; `verdict` is the goal's exit code."""
    called: list[str] = []
    trained: list[tuple[str, ...]] = []
    verdict = {"goal": 0}

    def stub(name: str) -> click.Command:
        @click.command(name, context_settings={"ignore_unknown_options": True})
        @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
        @click.pass_context
        def noted(context: click.Context, arguments: tuple[str, ...]) -> None:
            called.append(name)
            if name == "finetune":
                trained.append(arguments)
            if name == "unpack":
                (tmp_path / "world.yaml").touch()
            if name == "goal":
                out = Path(arguments[arguments.index("--out") + 1])
                out.parent.mkdir(parents=True, exist_ok=True)
                out.touch()
                context.exit(verdict["goal"])

        return noted

    for name in ("unpack", "goal", "finetune", "evaluate", "report"):
        monkeypatch.setitem(registry().commands, name, stub(name))

    def run(goal: str, verdict_of_goal: int = 0) -> tuple[int, list[str]]:
        called.clear()
        trained.clear()
        verdict["goal"] = verdict_of_goal
        result = CliRunner().invoke(command_line, ["demo", "--world", str(tmp_path), "--goal", goal])
        goals = sum(word.endswith(".yaml") for arguments in trained for word in arguments)
        return result.exit_code, [f"{name} {goals} goals" if name == "finetune" else name for name in called]

    return run


def test_a_goal_that_the_world_has_hardly_seen_gets_no_head_however_often(demo) -> None:
    assert demo("fly", 3) == (3, ["unpack", "goal", "finetune 0 goals", "evaluate", "report"])
    assert demo("fly", 3) == (3, ["goal", "finetune 0 goals", "evaluate", "report"])
    assert demo("fly") == (0, ["goal", "finetune 1 goals", "evaluate", "report"])
    assert demo("fly") == (0, ["finetune 1 goals", "evaluate", "report"])


def test_a_refused_goal_ends_it(demo) -> None:
    assert demo("fly", 1) == (1, ["unpack", "goal"])


def test_an_empty_goal_is_refused_before_anything_runs(demo) -> None:
    code, called = demo(" ")
    assert (code, called) == (1, [])


def test_its_parts_are_the_real_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("list", "heads") == 0
    assert "actor_critic" in capsys.readouterr().out


def test_goals_that_differ_in_a_sign_have_files_of_their_own(tmp_path: Path) -> None:
    assert task_file(tmp_path, "park at -1 m") != task_file(tmp_path, "park at 1 m")
