"""README's commands and Python run as they stand, with less training."""

import os
import re
import sys
import tomllib
from pathlib import Path

from docs_pages import PAGES, blocks
from helpers import MANYHEADS, package, run

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
SMALL = (
    "--set world.deter=16 --set world.hidden=8 --set world.units=8 --set training.batch_size=2 "
    "--set training.batch_length=8 --set training.train_ratio=4 --set training.compile=false "
    "--set heads.actor_critic.horizon=2"
)
SHORTER = {
    "steps=4000": "steps=80",
    "steps=6000": "steps=160",
    "evaluate_every=1000": "evaluate_every=40, evaluate_episodes=1",
    "updates=1000": "updates=3",
    "episodes=5": "episodes=1",
    "steps=6200": "steps=170",
}
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
    if command.startswith("manyheads finetune starter"):
        command += " --set training.compile=false"
    if command.startswith("manyheads evaluate"):
        command += " --episodes 1"
    if command.startswith("manyheads watch"):
        command += " --steps 20"
    path = f"{MANYHEADS.parent}:{os.environ['PATH']}"
    result = run(
        "bash",
        "-c",
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "XDG_DATA_HOME": str(folder / "data"), **variables},
    )
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


def test_the_page_of_scripts_is_one_script_that_runs(tmp_path: Path) -> None:
    """As it stands, but with a small network and few steps."""
    small = ", ".join(f'"{each}"' for each in SMALL.replace("--set ", "").split())
    code = "\n".join(blocks(PAGES["docs/scripts.md"], "python"))
    code = code.replace('open_world("world", "demo")', f'open_world("world", "demo", [{small}])')
    for pattern, less in SHORTER.items():
        assert re.search(pattern, code), pattern
        code = re.sub(pattern, less, code)
    result = run(sys.executable, "-c", code, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    said = result.stdout.splitlines()
    assert [line for line in said if re.fullmatch(r"\d+ gymnasium/CartPole-v1 \d+\.\d+", line)]  # the callback
    assert [line for line in said if line.startswith("one episode ")]
    assert [line for line in said if " by " in line]  # reasons
    assert {line.split()[0] for line in said if " head " in f"{line} "} >= {"left"}
    assert "history" in (tmp_path / "world" / "world.yaml").read_text()
