"""What the tests of the documentation share: pages, their blocks, and the command lines in them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent.parent
DOCS = HERE / "docs"
PAGES = {path.relative_to(HERE).as_posix(): path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
PAGES |= {name: (HERE / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")}
"""Markdown by its path from the root"""

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, kind: str) -> list[str]:
    """The fenced blocks of one kind."""
    return [text for found, text in FENCE.findall(page) if found == kind]


def prose(page: str) -> str:
    """The page without its fenced blocks."""
    return FENCE.sub("", page)


def inline_code(page: str) -> list[str]:
    """What stands between single backticks."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(page))


def shell_lines(page: str) -> Iterator[str]:
    """Lines behind `$ ` in console blocks, continued lines joined, comments cut off."""
    for block in blocks(page, "console"):
        for line in re.findall(r"^\$ (.*)$", block.replace("\\\n", " "), re.MULTILINE):
            yield re.sub(r"\s+# .*$", "", line)


def command_lines(page: str) -> list[list[str]]:
    """Arguments of every `manyheads …` in console blocks and in inline code."""
    lines = [*shell_lines(page), *inline_code(page)]
    return [shlex.split(line)[1:] for line in lines if line.startswith("manyheads ")]


def slug(heading: str) -> str:
    """The anchor of a heading, as Markdown's table of contents makes it."""
    plain = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings."""
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)}
