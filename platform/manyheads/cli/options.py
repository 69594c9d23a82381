"""Options that several commands take."""

from __future__ import annotations

import click

log = click.option(
    "--log",
    "loggers",
    multiple=True,
    metavar="NAME",
    default=("tensorboard",),
    show_default=True,
    help="also write the numbers there; may be repeated (`manyheads list loggers`)",
)
