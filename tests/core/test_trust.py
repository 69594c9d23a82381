"""Nothing is imported because a file from elsewhere names it; own packages and allowed modules are."""

import os
import sys
from pathlib import Path

import pytest
from test_trainer import TINY, run

from helpers import MANYHEADS, package
from helpers import run as run_command
from manyheads import ManyheadsError, load, load_task, make
from manyheads import trust as trusted
from manyheads.trust import VARIABLE, allow_package, require_allowed

TASK = """version: 1
environment: gymnasium/Pendulum-v1
reward: {{source: python, function: "{}", signals: [pole_angle]}}
episode_steps: 50
"""
NAMED = "is code of the module '{}', which no installed plugin brings, so it is not run. If you trust who wrote it, set"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that can be imported, says when it was, and belongs to no plugin."""
    (tmp_path / "elsewhere.py").write_text(
        "from pathlib import Path\n"
        f"Path({str(tmp_path / 'imported')!r}).touch()\n"
        "def pay(signals):\n    return signals['pole_angle'].cos()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "elsewhere", raising=False)
    return tmp_path


def task(folder: Path, function: str) -> Path:
    path = folder / "task.yaml"
    path.write_text(TASK.format(function))
    return path


@pytest.mark.parametrize("function", ["subprocess:run", "os:system", "elsewhere:pay", "manyheads.atomic:write_text"])
def test_a_function_that_nobody_allowed_is_not_imported(function: str, elsewhere: Path) -> None:
    with pytest.raises(ManyheadsError, match=NAMED.format(function.partition(":")[0])):
        load_task(task(elsewhere, function)).built()
    assert not (elsewhere / "imported").exists()


def test_a_user_allows_a_module_and_what_lies_below(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, " elsewhere, other.part ")
    assert load_task(task(elsewhere, "elsewhere:pay")).built().reward.signals == {"pole_angle"}
    require_allowed("other.part.inner", "thing")
    for name in ("other", "other.parts", "elsewhere2"):
        with pytest.raises(ManyheadsError, match=f"set {VARIABLE}=elsewhere,other.part,{name} for every command"):
            require_allowed(name, "thing")


def test_a_plugin_s_package_may_be_named_but_not_what_it_imports(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trusted, "_packages", set())
    (elsewhere / "sailing.py").write_text(
        "from subprocess import run\ndef pay(signals): return signals['pole_angle']\n"
    )
    allow_package("sailing")
    assert load_task(task(elsewhere, "sailing:pay")).built()
    with pytest.raises(ManyheadsError, match=NAMED.format("subprocess")):
        load_task(task(elsewhere, "sailing:run")).built()


def test_a_world_from_elsewhere_runs_nothing(elsewhere: Path) -> None:
    world = elsewhere / "world"
    path = elsewhere / "task.yaml"
    path.write_text(
        "version: 1\nenvironment: gymnasium/Pendulum-v1\nreward: {source: environment}\nepisode_steps: 50\n"
    )
    run("train", world, path, *TINY, "--steps", 40)
    task(world / "heads" / "task", "elsewhere:pay")
    for command in (["evaluate", world], ["watch", world, "task"], ["train", world, "--steps", 60]):
        with pytest.raises(ManyheadsError, match=NAMED.format("elsewhere")):
            run(*command)
    with pytest.raises(ManyheadsError, match=NAMED.format("elsewhere")):
        load(world).head("task")
    run("report", world, "--video-steps", 0)
    assert "no installed plugin brings" in (world / "report.html").read_text()
    assert not (elsewhere / "imported").exists()


def test_environments_are_imported_from_no_other_modules(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ManyheadsError, match=NAMED.format("elsewhere")):
        make("gymnasium/elsewhere:Swing-v0")
    assert not (elsewhere / "imported").exists()
    monkeypatch.setenv(VARIABLE, "elsewhere")
    with pytest.raises(ManyheadsError, match="no environment named"):
        make("gymnasium/elsewhere:Swing-v0")
    assert (elsewhere / "imported").exists()


def test_a_module_next_to_the_task_is_found_as_the_message_says(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def pay(signals): return signals['pole_angle']\n")
    command = (MANYHEADS, "reward", "check", task(tmp_path, "mine:pay"))
    allowed = {**os.environ, VARIABLE: "mine"}
    assert f"set {VARIABLE}=mine" in run_command(*command).stderr
    assert "name its folder in PYTHONPATH" in run_command(*command, env=allowed).stderr
    done = run_command(*command, env={**allowed, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr


def test_an_installed_plugin_s_functions_need_no_permission(tmp_path: Path) -> None:
    package(tmp_path, "sails", {"manyheads_sails.py": "def pay(signals): return signals['pole_angle']\n"})
    done = run_command(
        MANYHEADS,
        "reward",
        "check",
        task(tmp_path, "manyheads_sails:pay"),
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
