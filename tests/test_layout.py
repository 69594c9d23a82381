"""The source roots keep their rules: what lies in them is imported, and the standard library survives."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import python
from manyheads.builtins import COMMANDS

HERE = Path(__file__).parent.parent
ROOTS = ("platform", "plugins", "tasks")


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("name", ["__init__.py", "conftest.py"])
def test_source_root_is_no_package(root: str, name: str) -> None:
    assert not (HERE / root / name).exists()


def test_tests_live_under_tests_alone() -> None:
    strays = [path for root in ROOTS for path in (HERE / root).rglob("*.py") if path.name.startswith("test_")]
    assert not strays
    assert not (HERE / "tests" / "platform").exists()


def test_standard_library_survives() -> None:
    code = "import platform, uuid; uuid.uuid4(); print(platform.python_version())"
    result = python(code, cwd=HERE)
    assert result.returncode == 0, result.stderr


def test_folders_of_plugins_and_the_table_of_entry_points_agree() -> None:
    table = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]["entry-points"]["manyheads"]
    packages = {path.parent.name for root in ROOTS[1:] for path in (HERE / root).glob("*/__init__.py")}
    assert table.pop("core") == "manyheads.builtins"
    assert set(table.values()) == packages
    assert all(f"manyheads_{name}" == module for name, module in table.items())


def test_packing_names_the_roots_once_each() -> None:
    settings = tomllib.loads((HERE / "pyproject.toml").read_text())["tool"]
    build = settings["hatch"]["build"]
    assert build["only-include"] == build["sources"] == build["dev-mode-dirs"] == [*ROOTS]
    assert settings["mypy"]["mypy_path"] == settings["pyright"]["extraPaths"] == [*ROOTS]


def test_every_module_of_the_command_line_is_a_command() -> None:
    folder = HERE / "platform" / "manyheads" / "cli"
    modules = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    modules = {name.removesuffix("_") if not name.startswith("_") else name for name in modules}
    assert modules - {"__init__", "console", "options", "recorded"} == set(COMMANDS)


def test_public_face_says_the_same_three_times() -> None:
    code = """
import ast, inspect, manyheads
[checked] = [node for node in ast.parse(inspect.getsource(manyheads)).body if isinstance(node, ast.If)]
typed = {
    alias.name: node.module.removeprefix("manyheads.")
    for node in checked.body
    for alias in node.names
}
assert typed == manyheads._MODULES, typed.items() ^ manyheads._MODULES.items()
assert set(manyheads.__all__) == set(typed)
for name in manyheads.__all__:
    getattr(manyheads, name)
"""
    result = python(code)
    assert result.returncode == 0, result.stderr


def tree(folder: Path, indent: str = "") -> Iterator[str]:
    """The modules below a folder, a line each, with what their docstrings' first lines say."""
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if path.suffix == ".py" and (path.name != "__init__.py" or not indent):
            yield _commented(f"{indent}{path.name}", path)
        elif (path / "__init__.py").exists():
            yield _commented(f"{indent}{path.name}/", path / "__init__.py")
            yield from tree(path, f"{indent}  ")


def _commented(name: str, module: Path) -> str:
    says = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "?"
    return f"{name:<28}{says.splitlines()[0].removesuffix('.')}"


def test_the_tree_in_the_docs_has_every_module_with_the_first_line_of_its_docstring() -> None:
    lines = [line for root in ROOTS for line in (f"{root}/", *tree(HERE / root, "  "))]
    expected = "\n".join([*lines, "benchmarks/", *tree(HERE / "benchmarks", "  ")])
    assert "?" not in expected.replace("same way?", "")
    page = HERE / "docs" / "architecture.md"
    assert expected in page.read_text(encoding="utf-8"), f"The tree in {page.name} should be:\n{expected}"
