"""Plugins found by their entry points: collisions, failures, the switch, misspelt names."""

import logging
import os
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from helpers import MANYHEADS, entries, package, python, run
from manyheads.errors import ManyheadsError
from manyheads.registry import Registry, registry

ENVIRONMENT = """
from manyheads import Environment, hookimpl

@hookimpl
def register_environments(register):
    register(Environment("{thing}", factory=lambda options: None))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder on the import path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def add(folder: Path, name: str, thing: str) -> None:
    package(folder, name, {f"manyheads_{name}.py": ENVIRONMENT.format(thing=thing)})


def test_two_plugins_that_get_along(folder: Path) -> None:
    add(folder, "reg_a", "reg_a/boat")
    add(folder, "reg_b", "reg_b/boat")
    table = Registry(entries(folder)).environments
    assert list(table) == ["reg_a/boat", "reg_b/boat"]
    assert table.owners["reg_b/boat"] == "reg_b"


def test_name_taken_twice_names_both_plugins_and_belongs_to_nobody(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add(folder, "reg_c", "sea/boat")
    add(folder, "reg_d", "sea/boat")
    table = Registry(entries(folder)).environments
    text = (
        "Plugins reg_c (package manyheads-reg_c 1.0) and reg_d (package manyheads-reg_d 1.0) both register "
        "the environment 'sea/boat'. MANYHEADS_DISABLE_PLUGINS=reg_d leaves out the second."
    )
    with pytest.raises(ManyheadsError) as error:
        table["sea/boat"]
    assert str(error.value) == text
    assert text in caplog.text
    assert "sea/boat" not in table


def test_leaving_out_the_second_gives_the_name_to_the_first(folder: Path) -> None:
    add(folder, "reg_c2", "sea/boat")
    add(folder, "reg_d2", "sea/boat")
    assert "sea/boat" in Registry(entries(folder), disabled=["reg_d2"]).environments


def test_plugin_that_raises_while_loading_is_named_and_the_others_work(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add(folder, "reg_e", "reg_e/boat")
    package(folder, "reg_f", {"manyheads_reg_f.py": "import math\nraise RuntimeError('no wind')\n"})
    made = Registry(entries(folder), disabled=["reg_x"])
    assert list(made.environments) == ["reg_e/boat"]
    assert made.plugins["reg_f"].problems == [
        "Plugin reg_f (package manyheads-reg_f 1.0) did not load: RuntimeError: no wind "
        f"({folder / 'manyheads_reg_f.py'}, line 2). MANYHEADS_DISABLE_PLUGINS=reg_x,reg_f leaves it out."
    ]
    assert made.plugins["reg_f"].problems[0] in caplog.text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("register(Environment('x/y', factory=None)); 1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("register('boat')", "expected Environment, got 'boat'"),
        (
            "register(Environment('Boat', factory=None))",
            "registers the environment 'Boat'; expected a name like ",
        ),
    ],
)
def test_plugin_that_fails_in_a_hook_registers_nothing(folder: Path, body: str, message: str, request: object) -> None:
    name = f"reg_hook_{body[:5].lower()}_{len(body)}"
    source = f"""
from manyheads import Environment, hookimpl

@hookimpl
def register_environments(register):
    {body}
"""
    package(folder, name, {f"manyheads_{name}.py": source})
    made = Registry(entries(folder))
    assert not made.environments
    assert message in made.plugins[name].problems[0]


def test_hook_that_does_not_exist_is_a_failure_with_the_near_one(folder: Path) -> None:
    source = "from manyheads import hookimpl\n\n@hookimpl\ndef register_enviroments(register): ...\n"
    package(folder, "reg_g", {"manyheads_reg_g.py": source})
    assert Registry(entries(folder)).plugins["reg_g"].problems == [
        "Plugin reg_g (package manyheads-reg_g 1.0) did not load: there is no hook register_enviroments; did you mean "
        "register_environments? MANYHEADS_DISABLE_PLUGINS=reg_g leaves it out."
    ]


@pytest.mark.parametrize(
    ("name", "advice"),
    [("register_heads", "@hookimpl"), ("register_enviroments", "@hookimpl, spelt register_environments")],
)
def test_forgotten_decorator_is_named_and_the_rest_works(folder: Path, name: str, advice: str) -> None:
    plugin = f"reg_{name}"
    source = ENVIRONMENT.format(thing="reg/boat") if name == "register_heads" else "from pathlib import Path\n"
    package(folder, plugin, {f"manyheads_{plugin}.py": f"{source}\ndef {name}(register): ...\n"})
    made = Registry(entries(folder))
    assert made.plugins[plugin].problems == [
        f"Plugin {plugin} (package manyheads-{plugin} 1.0) has a function {name} that is not used: decorate it with "
        f"{advice}. MANYHEADS_DISABLE_PLUGINS={plugin} leaves it out."
    ]
    assert ("reg/boat" in made.environments) == (name == "register_heads")


@pytest.mark.parametrize(
    ("hook", "thing", "message"),
    [
        ("register_runners", "RunnerKind(name='Far', run=print)", "registers the runner 'Far'; expected a name like"),
        ("register_loggers", "LoggerKind(name='far', open=print)", "registers the logger 'far'; expected a name like"),
        ("register_runners", "LoggerKind(name='a/far', open=print)", "expected RunnerKind, got LoggerKind("),
        ("register_suites", "'no/such.json'", "there is no suite file or folder no/such.json"),
    ],
)
def test_names_and_types_of_the_newer_hooks_are_checked(folder: Path, hook: str, thing: str, message: str) -> None:
    plugin = f"reg_kind_{abs(hash(thing))}"
    source = f"""
from manyheads import LoggerKind, RunnerKind, hookimpl

@hookimpl
def {hook}(register):
    register({thing})
"""
    package(folder, plugin, {f"manyheads_{plugin}.py": source})
    made = Registry(entries(folder))
    made.load_all()
    assert message in made.plugins[plugin].problems[0]
    assert not made.runners
    assert not made.loggers


def test_task_folder_that_does_not_exist_is_a_failure(folder: Path) -> None:
    source = "from manyheads import hookimpl\n\n@hookimpl\ndef register_tasks(register): register('no/such')\n"
    package(folder, "reg_t", {"manyheads_reg_t.py": source})
    made = Registry(entries(folder))
    assert not made.tasks
    assert "there is no task file or folder no/such" in made.plugins["reg_t"].problems[0]


def test_switch_leaves_a_plugin_out_and_misspelt_switch_is_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    add(folder, "reg_h", "reg_h/boat")
    made = Registry(entries(folder), disabled=["reg_h", "reg_hh"])
    assert made.plugins["reg_h"].disabled
    with pytest.raises(ManyheadsError, match="Plugins left out by MANYHEADS_DISABLE_PLUGINS: reg_h"):
        made.environments["reg_h/boat"]
    assert "MANYHEADS_DISABLE_PLUGINS: There is no plugin named 'reg_hh'. Did you mean reg_h?" in caplog.text


def test_misspelt_name_gets_the_near_one_and_the_listing(folder: Path) -> None:
    add(folder, "reg_i", "reg_i/walker")
    with pytest.raises(ManyheadsError) as error:
        Registry(entries(folder)).environments["reg_i/wlaker"]
    assert str(error.value) == (
        "There is no environment named 'reg_i/wlaker'. Did you mean reg_i/walker? "
        "`manyheads list environments` shows what there is."
    )


def test_misspelt_name_mentions_plugins_that_failed(folder: Path) -> None:
    package(folder, "reg_j", {"manyheads_reg_j.py": "1 / 0"})
    with pytest.raises(ManyheadsError, match=r"Plugins that failed: reg_j \(`manyheads list plugins` says why\)\."):
        Registry(entries(folder)).environments["reg_j/walker"]


def test_installed_plugins_all_load(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made = Registry(entry_points(group="manyheads"))
        made.load_all()
    assert not [problem for plugin in made.plugins.values() for problem in plugin.problems]
    assert not caplog.messages


def test_core_comes_through_the_same_door() -> None:
    assert registry().heads.owners["actor_critic"] == "core"
    assert {name for name, owner in registry().rewards.owners.items() if owner == "core"} == {
        "environment",
        "python",
        "spec",
    }
    assert registry().heads["actor_critic"].load().name == "actor_critic"


def test_command_line_works_next_to_a_broken_plugin(tmp_path: Path) -> None:
    package(tmp_path, "broken", {"manyheads_broken.py": "raise RuntimeError('no wind')"})
    variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = run(MANYHEADS, "list", "heads", env=variables)
    assert result.returncode == 0
    assert "actor_critic" in result.stdout
    assert "Plugin broken (package manyheads-broken 1.0) did not load: RuntimeError: no wind" in result.stderr
    assert "MANYHEADS_DISABLE_PLUGINS=broken leaves it out." in result.stderr
    quiet = run(MANYHEADS, "list", "heads", env={**variables, "MANYHEADS_DISABLE_PLUGINS": "broken"})
    assert quiet.stderr == ""
    assert "broken" in run(MANYHEADS, "list", "plugins", env=variables).stdout


def test_registering_imports_no_torch() -> None:
    code = "import sys, manyheads.registry as r; r.registry().load_all(); print('torch' in sys.modules)"
    assert python(code).stdout == "False\n"
