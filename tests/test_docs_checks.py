"""Nothing in the documentation drifts from the code: commands, settings, examples, links and quoted messages."""

import ast
import re
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click
import pytest

from docs_pages import DOCS, HERE, PAGES, anchors, blocks, command_lines, inline_code, shell_lines
from manyheads.cli import manyheads
from manyheads.commands import LazyCommand
from manyheads.imports import load_object
from manyheads.kinds import split_overrides
from manyheads.registry import registry
from manyheads.settings import Settings, head_settings, load_settings, setting_names
from manyheads.yamltext import parse as read_yaml

CORE = HERE / "platform" / "manyheads"
every_page = pytest.mark.parametrize("page", PAGES)


@every_page
def test_every_command_line_is_understood(page: str) -> None:
    for words in command_lines(PAGES[page]):
        parse(words)


def parse(words: list[str]) -> None:
    """Lets click read a command line without running it; one that ends with its command's name is looked up alone."""
    command: click.Command = manyheads
    rest = [re.sub(r"^N$", "1", word) for word in words if word != "…"]
    while isinstance(command, click.Group) and rest:
        found = command.get_command(click.Context(command), rest[0])
        assert found is not None, f"there is no command {rest[0]!r} in: manyheads {' '.join(words)}"
        command = load_object(found.where, click.Command, rest[0]) if isinstance(found, LazyCommand) else found
        rest = rest[1:]
    try:
        if rest:
            command.make_context(command.name, rest)
    except click.UsageError as error:
        if "…" not in words or not isinstance(error, click.MissingParameter):
            pytest.fail(f"manyheads {' '.join(words)}: {error.format_message()}")


@every_page
def test_every_setting_exists(page: str) -> None:
    known = set(setting_names(Settings))
    for kind in registry().heads:
        model = head_settings(Settings(), kind).__class__
        known |= set(setting_names(model, f"heads.{kind}."))
    for words in command_lines(PAGES[page]):
        if words[0] in ("train", "reproduce"):
            own = [value for option, value in pairwise(words) if option in ("--runner", "--log")]
            given = [value for option, value in pairwise(words) if option == "--set"]
            load_settings(None, split_overrides(given, own)[0])
    for code in inline_code(PAGES[page]):
        for name in re.findall(r"^(?:--set )?((?:training|optimizer|world|heads)\.[\w./]+)(?:=\S+)?$", code):
            if not name.endswith((".yaml", ".py")):
                assert name in known or any(each.startswith(f"{name}.") for each in known), f"no setting {name}"


@every_page
def test_shell_lines_name_what_exists(page: str) -> None:
    targets = re.findall(r"^([a-z]+):", (HERE / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for line in [*shell_lines(PAGES[page]), *inline_code(PAGES[page])]:
        words = line.split()
        if words[0] == "make" and len(words) > 1:
            assert words[1] in targets, f"no such target: {line}"
        if words[0] in ("python", "pytest", ".venv/bin/pytest"):
            for word in words[1:]:
                assert not word.endswith(".py") or (HERE / word).exists(), f"no such file: {line}"


@every_page
def test_every_block_is_valid(page: str) -> None:
    for text in blocks(PAGES[page], "python"):
        ast.parse(text)
    for text in blocks(PAGES[page], "toml"):
        tomllib.loads(text)
    for text in blocks(PAGES[page], "yaml"):
        read_yaml(text)


@every_page
def test_links_lead_to_pages_and_headings(page: str) -> None:
    folder = (HERE / page).parent
    for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (folder / path).resolve() if path else HERE / page
        assert target.exists(), f"{page}: {link} leads nowhere"
        assert page in ("README.md", "CONTRIBUTING.md") or target.is_relative_to(DOCS), f"{page}: {link} leaves docs/"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{page}: {link} has no such heading"


def test_every_page_is_in_the_sites_navigation() -> None:
    named = re.findall(r": ([\w/]+\.md)$", (HERE / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(path.name for path in DOCS.glob("*.md"))


def test_readme_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 150


def messages() -> Iterator[str]:
    """Every text in the code, with `…` for what is filled in."""
    for root in ("platform", "plugins"):
        for path in (HERE / root).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield re.sub(r"\{\w+\}", "…", node.value)


def test_every_quoted_message_occurs_in_the_code() -> None:
    known = [*messages()]
    rows = re.findall(r"^\| (`.*?) \| .* \| .* \|$", PAGES["docs/troubleshooting.md"], re.MULTILINE)
    quoted = [quote for row in rows for quote in re.findall(r"`([^`]+)`", row)]
    assert len(quoted) > 60
    missing = []
    for quote in quoted:
        pattern = re.compile(".*".join(re.escape(part.strip()) for part in quote.split("…")), re.DOTALL)
        if not any(pattern.search(text) for text in known):
            missing.append(quote)
    assert not missing, "docs/troubleshooting.md quotes what the code no longer says:\n" + "\n".join(missing)


def test_contracts_have_the_names_of_the_page() -> None:
    [page] = blocks(PAGES["docs/architecture.md"], "python")
    known: dict[str, set[str]] = {}
    for path in CORE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                known[node.name] = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
    for contract in ast.parse(page).body:
        if not isinstance(contract, ast.ClassDef):
            continue
        methods = {part.name for part in contract.body if isinstance(part, ast.FunctionDef)}
        missing = methods - known.get(contract.name, set())
        assert not missing, f"{contract.name} has no {', '.join(sorted(missing))}"


def test_files_to_change_exist() -> None:
    page = PAGES["docs/architecture.md"].split("## Where do I change X?", 1)[1].split("\n## ", 1)[0]
    for row in re.findall(r"^\| [^|]+ \| (.*) \|$", page, re.MULTILINE)[2:]:
        room = Path()
        for name in re.findall(r"`([\w/.*]+)`", row):
            room = Path(name).parent if "/" in name else room
            places = [HERE / name, CORE / name, CORE / room / name]
            assert any([*place.parent.glob(place.name)] for place in places), f"there is no {name}"
