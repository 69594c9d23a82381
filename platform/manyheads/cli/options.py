"""Options that several commands take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from manyheads.parameters import NamedPath

F = TypeVar("F", bound=Callable[..., Any])


class WorldPath(NamedPath):
    """The folder of a world, or the name of one that comes with manyheads."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from manyheads.storage.packaged_worlds import world_path

        return world_path(super().convert(value, param, ctx))


log = click.option(
    "--log",
    "loggers",
    multiple=True,
    metavar="NAME",
    default=("tensorboard",),
    show_default=True,
    help="also write the numbers there; may be repeated (`manyheads list loggers`)",
)

yes = click.option("--yes", is_flag=True, help="continue without asking")
patience = click.option(
    "--patience", type=click.IntRange(min=1), help="end when so many evaluations in a row got no better, of every head"
)
minutes = click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="end after so many minutes")


def runner(what: str) -> Callable[[F], F]:
    """Adds `--runner`; `what` it is that runs there."""
    return click.option(
        "--runner",
        default="local",
        show_default=True,
        metavar="NAME",
        help=f"where {what} (`manyheads list runners`)",
    )


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
