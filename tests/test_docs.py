"""README's commands and Python run as they stand, with less training."""

import os
import re
import sys
import tomllib
from pathlib import Path

from helpers import MANYHEADS, package, run

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
SMALL = (
    "--set world.deter=16 --set world.hidden=8 --set world.units=8 --set training.batch_size=2 "
    "--set training.batch_length=8 --set training.train_ratio=4 --set training.compile=false "
    "--set heads.actor_critic.horizon=2"
)
LESS = {r"--steps \d+": "--steps 80", r"--updates \d+": "--updates 3"}


def session(heading: str) -> tuple[list[str], str]:
    """The commands under a heading, and the Python that follows them."""
    [text] = re.findall(rf"^## {heading}.*?\n(.*?)(?=^## )", README, re.MULTILINE | re.DOTALL)
    commands = re.findall(r"^\$ (.*)$", text, re.MULTILINE)
    return commands, "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def shell(command: str, folder: Path, **variables: str) -> str:
    """Runs one line of a session, its training cut short."""
    for pattern, less in LESS.items():
        command = re.sub(pattern, less, command)
    if " train " in command:
        command = command.replace("--settings demo", f"--settings demo {SMALL}")
    if command.startswith("manyheads evaluate"):
        command += " --episodes 1"
    if command.startswith("manyheads watch"):
        command += " --steps 20"
    path = f"{MANYHEADS.parent}:{os.environ['PATH']}"
    result = run("bash", "-c", command, cwd=folder, env={**os.environ, "PATH": path, **variables})
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def test_journey_1(tmp_path: Path) -> None:
    commands, _ = session("Journey 1")
    folder = tmp_path / "manyheads-sailing"
    for command in commands:
        if command.startswith("pip install"):
            project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
            package(tmp_path, "sailing", {}, entry=project["entry-points"]["manyheads"]["sailing"])
        else:
            shown = shell(command, tmp_path, PYTHONPATH=f"{tmp_path}:{folder}")
            assert "list tasks" not in command or "sailing/corridor-far_end" in shown


def test_journeys_2_and_3(tmp_path: Path) -> None:
    goal, _ = session("Journey 2")
    head, code = session("Journey 3")
    for command in [*goal, *head]:
        shell(command, tmp_path)
    result = run(sys.executable, "-c", code, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
