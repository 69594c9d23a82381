"""`manyheads new plugin NAME`: a working package to start from."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template

import click

from manyheads import atomic
from manyheads.errors import ManyheadsError
from manyheads.parameters import NamedPath
from manyheads.registry import registry

TEMPLATES = Path(__file__).parent / "templates" / "plugin"


@click.group()
def new() -> None:
    """Writes a new package to start from."""


@new.command()
@click.argument("name")
@click.option(
    "--folder",
    type=NamedPath(),
    help="Where to write it; manyheads-NAME in the current folder unless given.",
)
def plugin(name: str, folder: Path | None) -> None:
    """Writes a plugin: an environment, a reward source, a task and their tests."""
    written = write_plugin(name, folder or Path(f"manyheads-{name.replace('_', '-')}"))
    click.echo(
        f"""Wrote {written}: an environment, a reward source, a task and their tests.
Next:
  pip install -e '{written}[test]'
  pytest {written}
  manyheads list plugins"""
    )


def write_plugin(name: str, folder: Path) -> Path:
    """Writes a plugin's package into a new folder; raises ManyheadsError where name or folder is taken."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ManyheadsError(f"A plugin can't be named {name!r}; expected a word like sailing or lunar_rover.")
    if name in registry().plugins:
        raise ManyheadsError(f"There is a plugin {registry().plugins[name]} already; take another name.")
    if folder.exists():
        raise ManyheadsError(f"{folder} exists already; take another --folder.")
    values = {"name": name, "dashed": name.replace("_", "-"), "title": name.replace("_", " ").capitalize()}
    for template in sorted(TEMPLATES.rglob("*.tmpl")):
        place = template.relative_to(TEMPLATES).with_suffix("").as_posix().replace("NAME", name)
        atomic.write_text(folder / place, Template(template.read_text(encoding="utf-8")).substitute(values))
    return folder
