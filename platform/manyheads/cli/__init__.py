"""The command line `manyheads`: a group of the commands that plugins and the core register."""

from __future__ import annotations

import click

from manyheads.registry import registry


class Registered(click.Group):
    """The group of all registered commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*registry().commands]

    def get_command(self, ctx: click.Context, name: str) -> click.Command:
        return registry().commands[name]


@click.group(cls=Registered, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="manyheads", message="%(prog)s %(version)s")
def manyheads() -> None:
    """One world model, many heads, goals in plain words."""
