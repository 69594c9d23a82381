"""Every benchmark that a user runs starts: what it imports is there, and it says what it takes."""

import runpy
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

SCRIPTS = sorted((Path(__file__).parent.parent / "benchmarks").glob("*.py"))
SIDES = {"peer.py", "peer_manyheads.py", "peer_sheeprl.py"}
"""what `peers.py` runs in processes of their own, with their own packages"""
SHARED = {"experiment.py", "cartpole_goals.py"}
"""what experiments import"""


@pytest.mark.parametrize(
    "script", [path for path in SCRIPTS if path.name not in SIDES | SHARED], ids=lambda path: path.stem
)
def test_it_says_what_it_takes(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(script.parent))
    found = {name: value for name, value in runpy.run_path(str(script)).items() if isinstance(value, click.Command)}
    groups = [command for command in found.values() if isinstance(command, click.Group)]
    for command in [*found.values(), *(part for group in groups for part in group.commands.values())]:
        if command in groups:
            continue
        result = CliRunner().invoke(command, ["--help"])
        assert result.exit_code == 0, result.output
        assert "--json" in result.output or "JSON" in result.output
    assert found
