"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


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
