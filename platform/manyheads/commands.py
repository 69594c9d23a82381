"""Commands that are imported when they are run, so that `manyheads --help` and `list` import no torch."""

from __future__ import annotations

from typing import Any

import click

from manyheads.imports import load_object, missing_modules


class LazyCommand(click.Command):
    """Stands for the command at `package.module:command` until it is run."""

    def __init__(
        self, name: str, where: str, description: str, requires: tuple[str, ...] = (), extra: str = ""
    ) -> None:
        super().__init__(name, help=description, short_help=description)
        self.where, self.requires, self.extra = where, requires, extra

    def missing(self) -> list[str]:
        """The modules in `requires` that this Python can't import."""
        return missing_modules(self.requires)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """The real command's context: click continues with the command that it finds there."""
        command = load_object(self.where, click.Command, what=f"command {self.name!r}")
        return command.make_context(*args, **kwargs)


class Commands(click.Group):
    """A group of commands, some of them lazy."""

    def add_lazy(
        self, name: str, where: str, description: str, requires: tuple[str, ...] = (), extra: str = ""
    ) -> None:
        """Adds the command at `package.module:command`; `description` is its line in the help.

        `requires` names modules that it, or an option of it, needs, `extra` the extra that installs them.
        """
        self.add_command(LazyCommand(name, where, description, requires, extra))
