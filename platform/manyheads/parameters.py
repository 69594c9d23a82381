"""Types of parameters that commands take: paths that name something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class NamedPath(click.ParamType[Path]):
    """A path; an empty one, which would be the current folder, is refused."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if not str(value).strip():
            self.fail(f"{str(value)!r} is not a path.", param, ctx)
        return Path(value)


class NewFile(NamedPath):
    """The path of a file to be written, whose name must end in one of these."""

    def __init__(self, *suffixes: str) -> None:
        self.suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        if not str(value).strip() or path.suffix not in self.suffixes or path.is_dir():
            expected = " or ".join(self.suffixes)
            self.fail(f"{str(value)!r} is not a name for this file: expected one that ends in {expected}.", param, ctx)
        return path
