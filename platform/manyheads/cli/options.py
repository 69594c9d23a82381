"""Options that several commands take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class NewFile(click.ParamType[Path]):
    """The path of a file to be written, whose name must end in one of these."""

    name = "path"

    def __init__(self, *suffixes: str) -> None:
        self.suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        if not str(value).strip() or path.suffix not in self.suffixes or path.is_dir():
            self.fail(
                f"{str(value)!r} is no name for this file: expected one that ends in {self.suffixes[0]}.", param, ctx
            )
        return path


class WorldPath(click.ParamType[Path]):
    """The folder of a world, or the name of one that comes with manyheads."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from manyheads.storage.packaged_worlds import world_path

        return world_path(value)


log = click.option(
    "--log",
    "loggers",
    multiple=True,
    metavar="NAME",
    default=("tensorboard",),
    show_default=True,
    help="also write the numbers there; may be repeated (`manyheads list loggers`)",
)

yes = click.option("--yes", is_flag=True, help="go on without asking")
patience = click.option(
    "--patience", type=click.IntRange(min=1), help="end when so many evaluations in a row got no better, of every head"
)
minutes = click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="end after so many minutes")


def evaluate_every(command: F) -> F:
    """Adds `--evaluate-every` and `--evaluate-episodes`."""
    every = click.option(
        "--evaluate-every",
        default=0,
        metavar="N",
        type=click.IntRange(min=0),
        help="play the heads each N rows (in imagination: updates) on reserved seeds, and keep the best",
    )
    episodes = click.option(
        "--evaluate-episodes", default=5, show_default=True, type=click.IntRange(min=1), help="episodes each time"
    )
    return every(episodes(command))
