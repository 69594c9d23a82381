"""`manyheads new plugin` writes a package that passes its own tests."""

import os
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from helpers import MANYHEADS, package, run
from manyheads.cli.new import TEMPLATES, write_plugin
from manyheads.errors import ManyheadsError


def test_plugin_passes_its_own_tests(tmp_path: Path) -> None:
    folder = write_plugin("lunar_rover", tmp_path / "rover")
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    entry = project["entry-points"]["manyheads"]["lunar_rover"]
    package(tmp_path, "lunar_rover", {}, entry=entry)
    variables = {**os.environ, "PYTHONPATH": f"{tmp_path}:{folder}"}
    result = run(sys.executable, "-m", "pytest", folder, "-p", "no:cacheprovider", cwd=folder, env=variables)
    assert result.returncode == 0, result.stdout
    assert "5 passed" in result.stdout
    listed = run(MANYHEADS, "list", "tasks", env=variables)
    assert "lunar_rover/corridor-far_end" in listed.stdout
    assert listed.stderr == ""


@pytest.mark.slow
def test_plugin_passes_its_own_tests_after_pip_install(tmp_path: Path) -> None:
    """In its own environment, which sees this one's packages."""
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    [site] = (tmp_path / "venv" / "lib").glob("*/site-packages")
    (site / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    made = run(MANYHEADS, "new", "plugin", "lunar_rover", cwd=tmp_path)
    assert made.stdout.splitlines()[2] == "  pip install -e 'manyheads-lunar-rover[test]'"
    installed = run(python, "-m", "pip", "install", "-e", "manyheads-lunar-rover[test]", cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    result = run(python, "-m", "pytest", "manyheads-lunar-rover", cwd=tmp_path)
    assert "5 passed" in result.stdout


def test_every_template_is_written_and_nothing_is_left_to_fill_in(tmp_path: Path) -> None:
    folder = write_plugin("lunar_rover", tmp_path / "rover")
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert len(written) == len([*TEMPLATES.rglob("*.tmpl")])
    for path in written:
        assert not any(mark in path.read_text() for mark in ("$", "NAME")), path


@pytest.mark.parametrize("name", ["Rover", "lunar-rover", "7seas", "class", "", "a/b", "rövér"])
def test_name_that_is_no_word(name: str, tmp_path: Path) -> None:
    with pytest.raises(ManyheadsError, match="expected a word like sailing or lunar_rover"):
        write_plugin(name, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_name_that_is_taken(tmp_path: Path) -> None:
    with pytest.raises(ManyheadsError, match=r"There is a plugin dmc \(package manyheads .*\) already"):
        write_plugin("dmc", tmp_path / "x")


def test_folder_that_is_taken(tmp_path: Path) -> None:
    with pytest.raises(ManyheadsError, match="exists already"):
        write_plugin("lunar_rover", tmp_path)
