"""Pages of docs/ whose examples run, and whose tables are equal to what they list."""

import re
import shlex
import sys
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from docs_pages import HERE, PAGES, blocks
from helpers import run
from manyheads.cli import manyheads
from manyheads.environment.contract import Kind, Unit

CORE = HERE / "platform" / "manyheads"
REWARDS = PAGES["docs/rewards.md"]
ARCHITECTURE = PAGES["docs/architecture.md"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of docs/rewards.md, each named in its first line."""
    folder = tmp_path_factory.mktemp("rewards")
    for text in blocks(REWARDS, "yaml"):
        (folder / text.split("\n", 1)[0].removeprefix("# ")).write_text(text)
    return folder


def test_rewards_session_runs_and_shows_what_the_page_shows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    commands = re.findall(r"^\$ manyheads (.*)$", REWARDS, re.MULTILINE)
    shown = {}
    for command in [*commands, "reward check park_task.yaml"]:
        result = CliRunner().invoke(manyheads, shlex.split(command))
        assert result.exit_code == 0, f"{command}\n{result.output}"
        shown[command] = result.output
    [said] = blocks(REWARDS, "text")
    assert shown["reward check park.yaml"].startswith(f"{said}Signals:\n")


def test_rewards_python_prints_what_the_page_says(folder: Path) -> None:
    result = run(sys.executable, "-c", "\n".join(blocks(REWARDS, "python")), cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == re.findall(r"^It prints `(.*?)`", REWARDS, re.MULTILINE)


def test_every_check_of_specifications_is_in_the_table_and_there_are_no_others() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (CORE / "rewards").glob("*.py"))
    raised = {code: {"error"} for code in re.findall(r'"(L\d_[A-Z_]+)"', sources)}
    findings = re.findall(r'Finding\("(L\d_[A-Z_]+)", "(error|warning)"', sources)
    for code in {code for code, _ in findings}:
        raised[code] = {kind for found, kind in findings if found == code}
    raised |= {code: {"warning"} for code in raised if code.startswith("L3_")}  # L2's, within recorded values
    rows = re.findall(r"^\| (`L\d_[^|]*) \| ([a-z, ]+) \|", REWARDS, re.MULTILINE)
    listed = {code: kinds for codes, kinds in rows for code in re.findall(r"`(L\d_\w+)`", codes)}
    assert {code: {*kinds.split(", ")} for code, kinds in listed.items()} == raised


def test_the_table_of_rooms_has_every_room() -> None:
    table = ARCHITECTURE.split("## Rooms", 1)[1].split("\n## ", 1)[0]
    cells = re.findall(r"^\| (`[^|]*`) \|", table, re.MULTILINE)
    rooms = {name for cell in cells for name in re.findall(r"`([a-z_]+)/?`", cell)}
    there = {path.stem for path in CORE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms == {name for name in there if not name.startswith("__")}


def test_an_environment_of_ones_own_works_as_the_page_shows() -> None:
    page = PAGES["docs/own_environment.md"]
    code = "\n".join(blocks(page, "python"))
    result = run(sys.executable, "-c", f"{code}\nprint(CAR.instance().signals[1].description)")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("place along the track")


def test_the_task_file_of_that_page_passes_its_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [text] = blocks(PAGES["docs/own_environment.md"], "yaml")
    name = text.split("\n", 1)[0].removeprefix("# ")
    (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(manyheads, ["reward", "check", name])
    assert result.exit_code == 0, result.output


def test_every_unit_and_kind_of_a_signal_is_listed() -> None:
    rows = re.findall(r"^\| (unit|kind) \| (.*) \|$", PAGES["docs/own_environment.md"], re.MULTILINE)
    listed = {part: re.findall(r"`([^`]+)`", text) for part, text in rows}
    assert listed["unit"] == [*get_args(Unit)]
    assert [each for each in listed["kind"] if each != "rad"] == [*get_args(Kind)]


def test_every_test_on_the_page_of_borders_exists() -> None:
    page = PAGES["docs/borders.md"]
    default = re.search(r"A test below is in `(.*?)`", page)
    assert default is not None
    rows = re.findall(r"\| (?:`(tests/[\w/]+\.py)` )?`(test_\w+)` \|$", page, re.MULTILINE)
    assert len(rows) > 50
    for file, name in rows:
        text = (HERE / (file or default[1])).read_text(encoding="utf-8")
        assert f"def {name}(" in text, f"{file or default[1]} has no {name}"
