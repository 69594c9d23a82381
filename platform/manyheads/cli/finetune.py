"""`manyheads finetune`: a head on a frozen world, in imagination alone or with new experience."""

from __future__ import annotations

from pathlib import Path

import click

from manyheads.api.finetuning import finetune as run_finetuning
from manyheads.api.run import RunOptions, monitoring
from manyheads.api.scoring import quick_check
from manyheads.callbacks import EarlyStopping
from manyheads.cli import options
from manyheads.errors import ManyheadsError
from manyheads.kinds import split_overrides
from manyheads.storage.agent import load


@click.command()
@click.argument("world", type=click.Path(path_type=Path))
@click.argument("task")
@click.option("--updates", default=2000, show_default=True, type=click.IntRange(min=0), help="updates in imagination")
@click.option(
    "--steps", default=0, show_default=True, type=click.IntRange(min=0), help="new rows to collect after that"
)
@click.option("--head", help="another kind of head than TASK names; it is then called TASK.KIND")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="a setting of the machine, or of a logger")
@click.option("--check/--no-check", default=True, show_default=True, help="play a few real episodes at the end")
@options.evaluate_every
@options.patience
@options.log
def finetune(
    world: Path,
    task: str,
    updates: int,
    steps: int,
    head: str | None,
    overrides: tuple[str, ...],
    check: bool,
    evaluate_every: int,
    evaluate_episodes: int,
    patience: int | None,
    loggers: tuple[str, ...],
) -> None:
    """Train a head for TASK on the frozen WORLD.

    TASK is a task's name, a task file, an environment's name, or a head that WORLD already has. Ctrl-C saves; the same
    command goes on. `--updates` and `--steps` are totals of this head. At the end it plays a few real episodes, and it
    is said where it does no better than random.
    """
    settings, own = split_overrides(overrides, loggers)
    if patience is not None and not evaluate_every:
        raise ManyheadsError("--patience counts evaluations; say how often with --evaluate-every UPDATES.")
    callbacks = [] if patience is None else [EarlyStopping(patience=patience)]
    run = RunOptions(monitoring(callbacks, evaluate_every, evaluate_episodes), loggers, own)
    made = run_finetuning(world, task, updates, steps, run, head=head, overrides=settings)
    if check and (said := quick_check(load(world), made.name)):
        click.echo(said, err=True)
