"""Names, prints, terminals and homes that are not as one would like."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from helpers import MANYHEADS, package, run
from manyheads.cli import manyheads

LOUD = """
import ctypes
import gymnasium
import numpy as np
from manyheads import Environment, hookimpl


class Loud(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    metadata = {"render_fps": None}
    render_mode = "rgb_array"

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        print("loud in Python")
        ctypes.CDLL(None).puts(b"loud in C")
        ctypes.CDLL(None).fflush(None)
        self.steps = 0
        return np.zeros(1, np.float32), {"signals": {}}

    def step(self, action):
        self.steps += 1
        return np.zeros(1, np.float32), 1e-6, self.steps > 9, False, {"signals": {}}

    def render(self):
        return None


class Dark(Loud):
    def render(self):
        raise RuntimeError("no display")


@hookimpl
def register_environments(register):
    register(Environment("loud/loud", lambda options: Loud(), description="\x1b[31mred\x1b[0m [bold]as is[/] é…"))
    register(Environment("loud/dark", factory=lambda options: Dark()))
"""
TASK = "version: 1\nenvironment: loud/{}\nreward: {{source: environment}}\nepisode_steps: 20\ngoal: '[i]Be[/] loud …'\n"
TINY = (
    "world.deter=16", "world.hidden=8", "world.units=8", "training.batch_size=2", "training.batch_length=4",
    "training.num_envs=2", "training.train_ratio=1", "training.compile=false", "heads.actor_critic.horizon=2",
)  # fmt: skip
NAME = "left [v2]"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with a trained world, and variables with which its loud environments are found."""
    folder = tmp_path_factory.mktemp("foreign")
    package(folder, "loud", {"manyheads_loud.py": LOUD})
    variables = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    for name, environment in ((NAME, "loud"), ("dark", "dark")):
        (folder / f"{name}.yaml").write_text(TASK.format(environment), encoding="utf-8")
    settings = [f"--set={each}" for each in TINY]
    tasks = [folder / f"{NAME}.yaml", folder / "dark.yaml"]
    trained = run(
        MANYHEADS, "train", folder / "world", *tasks, "--settings", "demo", *settings, "--steps", 40, env=variables
    )
    assert trained.returncode == 0, trained.stderr
    return folder / "world", variables


def test_json_stays_json_where_an_environment_prints(made: tuple[Path, dict[str, str]]) -> None:
    world, variables = made
    done = run(MANYHEADS, "evaluate", world, NAME, "--episodes", 1, "--json", env=variables)
    assert [record["task"] for record in json.loads(done.stdout)["evaluations"]] == [NAME, NAME]
    assert "loud in Python" in done.stderr
    assert "loud in C" in done.stderr
    assert json.loads(run(MANYHEADS, "show", world, "--json", env=variables).stdout)["heads"]


def test_names_and_small_numbers_are_shown_as_they_are(made: tuple[Path, dict[str, str]]) -> None:
    world, variables = made
    table = run(MANYHEADS, "evaluate", world, NAME, "--episodes", 1, env=variables).stdout
    assert NAME in table.splitlines()
    assert "head     1e-05" in table
    assert "-0.0" not in table
    shown = run(MANYHEADS, "show", world, env=variables).stdout
    assert NAME in shown.splitlines()
    assert "[i]Be[/] loud …" in shown
    assert "mean return 1e-05" in shown
    assert "red [bold]as is[/] é…" in run(MANYHEADS, "list", "environments", env=variables).stdout


def test_one_heads_fault_is_a_line_and_the_rest_is_shown(made: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    world, variables = made
    done = run(MANYHEADS, "report", world, "--video-steps", 5, "--out", tmp_path / "r.html", env=variables)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "r.html").read_text()
    assert "dark can&#39;t be played and drawn: RuntimeError: no display." in page
    assert "MUJOCO_GL=egl" in page
    assert page.count("<video") == 1, re.findall(r"[^<>]*can&#39;t[^<>]*", page)
    watched = run(MANYHEADS, "watch", world, "dark", env=variables)
    assert watched.returncode == 1
    assert watched.stderr.splitlines()[-1].startswith(
        "Error: dark can't be played and drawn: RuntimeError: no display."
    )


@pytest.mark.parametrize("command", ["watch", "report"])
@pytest.mark.parametrize("out", ["", "park.jsonl", "."])
def test_files_of_other_kinds_are_not_written(command: str, out: str) -> None:
    arguments = [command, "world", *(["task"] if command == "watch" else []), "--out", out]
    result = CliRunner().invoke(manyheads, arguments)
    assert result.exit_code == 2
    assert "is not a name for this file" in result.output


def test_a_terminal_of_few_characters_and_no_home(made: tuple[Path, dict[str, str]]) -> None:
    world, variables = made
    poor = {**variables, "PYTHONIOENCODING": "latin-1"}
    del poor["HOME"]
    for command in (["list", "environments"], ["show", world], ["--help"], ["list", "environments", "--json"]):
        done = run(MANYHEADS, *command, env=poor, encoding="latin-1")
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    assert "\\u2026" in run(MANYHEADS, "show", world, env=poor, encoding="latin-1").stdout


@pytest.mark.skipif(sys.platform != "linux", reason="screens of X11")
def test_a_screen_that_is_gone_does_not_matter(tmp_path: Path) -> None:
    variables = {**os.environ, "DISPLAY": ":77"}
    variables.pop("MUJOCO_GL", None)
    code = """
import manyheads
env = manyheads.make("dmc/cartpole", task="balance")
env.reset(seed=0)
print(env.render().shape)
"""
    done = run(sys.executable, "-c", code, env=variables)
    assert done.returncode == 0 or "MUJOCO_GL" in done.stderr.splitlines()[-1], done.stderr
