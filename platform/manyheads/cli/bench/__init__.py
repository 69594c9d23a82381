"""`manyheads bench`: how fast this machine learns."""

from __future__ import annotations

import click

from manyheads.cli.bench.training import loop
from manyheads.cli.bench.update import learner

__all__ = ["bench", "learner", "loop"]


@click.group()
def bench() -> None:
    """Measure the speed of one update, and of training as a whole, on this machine."""


bench.add_command(learner)
bench.add_command(loop)
