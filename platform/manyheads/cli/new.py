"""`manyheads new plugin NAME`: a working package to start from; `manyheads new task ENVIRONMENT`: a task file."""

from __future__ import annotations

import json
import keyword
import re
import textwrap
from pathlib import Path
from string import Template
from typing import Any

import click

from manyheads import atomic
from manyheads.errors import ManyheadsError
from manyheads.filenames import file_name
from manyheads.parameters import NamedPath, NewFile
from manyheads.registry import registry
from manyheads.task import environment_task
from manyheads.yamlfile import read_setting

TEMPLATES = Path(__file__).parent / "templates" / "plugin"


@click.group()
def new() -> None:
    """Writes a new package, or a task, to start from."""


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


@new.command()
@click.argument("environment")
@click.option("--set", "settings", multiple=True, metavar="OPTION=VALUE", help="an option of the environment")
@click.option("--steps", type=click.IntRange(min=1), help="until an episode is cut  [default: the environment's own]")
@click.option("--out", type=NewFile(".yaml", ".yml"), help="the file  [default: named after ENVIRONMENT, here]")
def task(environment: str, settings: tuple[str, ...], steps: int | None, out: Path | None) -> None:
    """Writes a task of ENVIRONMENT that pays the simulator's own reward, with what can be changed in it.

    Without a file, `manyheads train WORLD ENVIRONMENT` trains the same.
    """
    path = out or Path(f"{file_name(environment.rpartition('/')[2])}.yaml")
    if path.exists():
        raise ManyheadsError(f"{path} exists already; --out names another file.")
    options = dict(read_setting(text, "image_size=64") for text in settings)
    atomic.write_text(path, task_text(environment, options, steps))
    click.echo(f"Wrote {path}. Next:\n  manyheads reward check {path}\n  manyheads train WORLD {path}")


def task_text(environment: str, options: dict[str, Any], steps: int | None) -> str:
    """A task file's text, with comments that say what else it may hold; raises ManyheadsError for a wrong option."""
    content = environment_task(environment, options)
    instance = registry().environments[environment].instance(options)
    own = instance.episode_steps
    limit = f"episode_steps: {steps or content.episode_steps}"
    if own is not None and steps is None:
        limit = f"# episode_steps: {own}   # the environment's own; another number cuts episodes there"
    names = [signal.name for signal in instance.signals]
    example = names[1] if len(names) > 1 else "reward"
    return f"""version: 1
environment: {environment}
options: {json.dumps(content.options)}
# What a step earns. `source: spec` reads a reward specification (`manyheads goal` writes one from a sentence).
reward: {{source: environment}}
# When an episode counts as a success, over what is measured: {textwrap.shorten(", ".join(names), 80)}
# (`manyheads reward signals {environment}` says what each of them is):
# success: {{when: {{op: gt, x: {{signal: "{example}"}}, than: 0}}}}
{limit}
# goal: one sentence that says what it is about
"""


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
