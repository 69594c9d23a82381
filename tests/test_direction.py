"""Which way things depend, read from the imports: the table of docs/architecture.md."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent.parent
CORE = HERE / "platform"
ROOTS = ("platform", "plugins", "tasks")
TREES = {path: ast.parse(path.read_text("utf-8")) for root in ROOTS for path in (HERE / root).rglob("*.py")}
"""parsed while tests are collected: Python 3.11 fails to parse where another thread, of a compiler say, does so, too"""

BASE = {"errors", "imports", "atomic", "yamltext", "filenames", "run_states", "parameters", "trust"}
NAMES = BASE | {"hookspecs", "models", "commands", "yamlfile", "registry", "task", "settings"}
NAMES |= {"kinds", "runners", "loggers", "suites", "callbacks", "goals"}
CONTRACTS = {"environment.contract", "environment.layout", "environment.pictures"}
CONTRACTS |= {"rewards.contract", "heads.kind", "heads.contract"}
LEARNED = {"environment", "experience", "execution", "world", "heads", "rewards"}
WORK = LEARNED | {"storage"}

MAY_IMPORT = {
    "errors": set(),
    "imports": {"errors"},
    "atomic": {"errors"},
    "yamltext": set(),
    "filenames": set(),
    "parameters": set(),
    "trust": {"errors"},
    "renamed_settings": set(),
    "run_states": set(),
    "settings": NAMES | {"renamed_settings", "world.sizes"},
    "commands": BASE,
    "yamlfile": BASE,
    "models": BASE,
    "kinds": BASE | {"yamlfile"},
    "runners": BASE | {"kinds", "callbacks"},
    "callbacks": set(),
    "goals": BASE | {"registry", "task"},
    "loggers": BASE | {"kinds"},
    "suites": BASE,
    "hookspecs": NAMES | CONTRACTS,
    "registry": NAMES | CONTRACTS,
    "task": NAMES | CONTRACTS | {"environment", "rewards"},
    "builtins": NAMES | CONTRACTS | {"rewards", "learning", "report", "jobs"},
    "testing": NAMES | LEARNED,
    "blocks": {"heads", "world"},
    "training": LEARNED | {"run_states", "storage", "learning", "jobs", "report.metrics", "report.progress"},
    "jobs": set(),
    "environment": BASE | {"environment"},
    "rewards": BASE | {"rewards", "environment.contract"},
    "execution": {"execution", "errors"},
    "world": BASE | {"world", "execution", "environment.layout"},
    "heads": BASE | {"heads", "world", "execution", "rewards", "environment.contract", "environment.layout"},
    "fused": BASE | {"fused", "heads", "world", "execution"},
    "experience": BASE | {"experience", "environment"},
    "storage": NAMES | LEARNED | {"storage"},
    "exchange": NAMES | WORK | {"exchange"},
    "imagined_env": NAMES | WORK | {"imagined_env"},
    "learning": NAMES | WORK | {"fused", "learning"},
    "report": NAMES | WORK | {"report"},
    "api": NAMES | WORK | {"learning", "report", "api"},
    "cli": NAMES | WORK | {"jobs", "learning", "report", "exchange", "api", "cli"},
    "__main__": NAMES | {"cli", "report.text"},
    "__init__": NAMES | WORK | {"blocks", "api", "imagined_env"},
}
"""Which modules (and those below them) each room imports; imports for type checkers alone are free."""

PLUGINS_MAY_IMPORT = CONTRACTS | {
    "",
    "errors",
    "hookspecs",
    "imports",
    "models",
    "testing",
    "task",
    "yamlfile",
    "kinds",
    "runners",
    "loggers",
}
PLUGINS_MAY_IMPORT |= {"environment.adapter", "environment.space_json"}
PLUGINS_MAY_IMPORT |= {
    "rewards",
    "storage.world_folder",
    "storage.packs",
    "storage.packaged_worlds",
    "storage.evaluations",
    "storage.ledger",
    "report.metrics",
    "report.experience",
    "atomic",
    "commands",
    "parameters",
    "registry",
    "blocks",
    "training",
    "trust",
}
"""The public face (""), the contracts, and what reads a world's folder."""


def imports(path: Path, for_type_checkers: bool = False) -> Iterator[str]:
    """The modules that a file imports when it runs, or also for type checkers; in full, wherever in the file."""

    def visit(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING") and not for_type_checkers:
            return
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            for alias in node.names:
                inner = CORE.joinpath(*module.split("."), alias.name)
                yield (f"{module}.{alias.name}" if inner.is_dir() or inner.with_suffix(".py").exists() else module)
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    yield from visit(TREES[path])


def inside(module: str, allowed: set[str]) -> bool:
    """Whether a module of manyheads (without its first name) is one of these or lies below one."""
    return any(module == name or (name and module.startswith(f"{name}.")) for name in allowed)


def core_files() -> list[Path]:
    return sorted(path for path in (CORE / "manyheads").rglob("*.py"))


def name_of(path: Path) -> str:
    """`heads.contract` for platform/manyheads/heads/contract.py."""
    parts = path.relative_to(CORE / "manyheads").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


@pytest.mark.parametrize("path", core_files(), ids=name_of)
def test_core_depends_one_way(path: Path) -> None:
    room = name_of(path).split(".")[0]
    allowed = BASE if name_of(path) in BASE else MAY_IMPORT[room]
    for module in imports(path):
        package, _, inner = module.partition(".")
        assert not package.startswith("manyheads_"), f"the core imports the plugin {package}"
        if package == "manyheads" and inner:
            assert inside(inner, allowed), f"{room} must not import manyheads.{inner}"


@pytest.mark.parametrize(
    "folder", sorted({*(HERE / "plugins").glob("*"), *(HERE / "tasks").glob("*")}), ids=lambda p: p.name
)
def test_plugins_import_the_public_face_and_never_one_another(folder: Path) -> None:
    for path in folder.rglob("*.py"):
        for module in imports(path):
            package, _, inner = module.partition(".")
            if package.startswith("manyheads_"):
                assert package == folder.name, f"{path.name} imports the plugin {package}"
            elif package == "manyheads":
                assert inside(inner, PLUGINS_MAY_IMPORT), f"{path.name} imports manyheads.{inner}"


def test_every_room_is_in_the_table() -> None:
    rooms = {name_of(path).split(".")[0] for path in core_files()}
    assert rooms <= MAY_IMPORT.keys()


def test_only_the_selection_imports_the_quick_compiler() -> None:
    """It calls private functions of torch, so whoever uses it must be able to do without."""
    inside_it = CORE / "manyheads" / "execution" / "inductor"
    for path in core_files():
        if inside_it not in path.parents and name_of(path) != "execution.select":
            assert not any("execution.inductor" in module for module in imports(path)), path


def test_no_two_files_import_each_other() -> None:
    """Type checkers' imports count too: contracts that two files share lie below both."""
    names = {name_of(path): path for path in core_files() if name_of(path) != "__init__"}
    found = {
        name: {module.removeprefix("manyheads.") for module in imports(path, True)} for name, path in names.items()
    }
    pairs = {(one, other) for one in found for other in found[one] & found.keys() if one < other}
    assert not {pair for pair in pairs if pair[0] in found[pair[1]]}
