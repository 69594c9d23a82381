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


log = click.option(
    "--log",
    "loggers",
    multiple=True,
    metavar="NAME",
    default=("tensorboard",),
    show_default=True,
    help="also write the numbers there; may be repeated (`manyheads list loggers`)",
)
