"""`manyheads head`: heads of a world, deleted, copied and renamed."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from manyheads.cli import options
from manyheads.errors import ManyheadsError
from manyheads.storage import head_folders
from manyheads.storage.world_folder import WorldFolder

WORLD = click.argument("world", type=click.Path(path_type=Path))


@click.group()
def head() -> None:
    """Delete, copy and rename heads of a world."""


@head.command()
@WORLD
@click.argument("name")
@options.yes
def delete(world: Path, name: str, yes: bool) -> None:
    """Delete the head NAME of WORLD with its weights, its best ones and its evaluations."""
    folder = WorldFolder.open(world)
    if name in folder.heads and not yes:
        if not sys.stdin.isatty():
            raise ManyheadsError(f"Nothing was deleted: nobody answered. --yes deletes {name} from {world}.")
        if not click.confirm(f"Delete the head {name} of {world} for good?", default=False, err=True):
            raise ManyheadsError("Nothing was deleted.")
    head_folders.delete_head(folder, name)
    click.echo(f"Deleted {name}; the world model and its experience are as they were.")


@head.command()
@WORLD
@click.argument("name")
@click.argument("new")
def copy(world: Path, name: str, new: str) -> None:
    """Make a second head NEW of the head NAME: `manyheads finetune WORLD NEW` trains it further by itself."""
    head_folders.copy_head(WorldFolder.open(world), name, new)
    click.echo(f"Copied {name} to {new}.")


@head.command()
@WORLD
@click.argument("name")
@click.argument("new")
def rename(world: Path, name: str, new: str) -> None:
    """Call the head NAME of WORLD NEW from now on."""
    head_folders.rename_head(WorldFolder.open(world), name, new)
    click.echo(f"{name} is now called {new}.")
