"""`manyheads finetune`: a head on a frozen world, in imagination alone or with new experience."""

from __future__ import annotations

from pathlib import Path

import click

from manyheads.cli import options
from manyheads.errors import ManyheadsError
from manyheads.kinds import split_overrides
from manyheads.learning.trainer import Trainer
from manyheads.parameters import NamedPath
from manyheads.report.metrics import Metrics
from manyheads.report.open_loggers import Loggers, choose_loggers
from manyheads.report.progress import Progress
from manyheads.storage.growth import grow, growth
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import load_task


@click.command()
@click.argument("world", type=NamedPath())
@click.argument("task")
@click.option("--updates", default=2000, show_default=True, type=click.IntRange(min=0), help="updates in imagination")
@click.option(
    "--steps", default=0, show_default=True, type=click.IntRange(min=0), help="new rows to collect after that"
)
@click.option("--head", help="another kind of head than TASK names; it is then called TASK.KIND")
@click.option("--set", "overrides", multiple=True, metavar="LOGGER.OPTION=VALUE", help="an option of a logger")
@options.log
def finetune(
    world: Path,
    task: str,
    updates: int,
    steps: int,
    head: str | None,
    overrides: tuple[str, ...],
    loggers: tuple[str, ...],
) -> None:
    """Train a head for TASK on the frozen WORLD.

    TASK is a task's name, a task file, or a head that WORLD already has. Ctrl-C saves; the same command goes on.
    """
    others, own = split_overrides(overrides, loggers)
    if others:
        raise ManyheadsError(f"--set {others[0]}: a frozen world keeps its settings; only options of --log can be set.")
    openers = choose_loggers(loggers, own)
    folder = WorldFolder.open(world)
    if "world" not in folder.checkpoint.names:
        raise ManyheadsError(f"{world} has not been trained yet; `manyheads train {world} TASK` comes first.")
    chosen = (folder.task(task) if task in folder.heads else load_task(task)).with_head(head).built()
    grown = grow(folder, [chosen])
    if gained := growth(folder, grown):
        click.echo(
            f"{gained} The frozen world model knows nothing of them: `manyheads train {world} {task}` trains it, too.",
            err=True,
        )
    folder = grown
    folder.save_task(chosen)
    trainer = Trainer(folder, [chosen], frozen=True)
    try:
        with Metrics(world, Loggers(openers, folder, [chosen])) as metrics:
            if trainer.learns:
                with Progress(updates, f"imagining {chosen.name}", unit="updates", start=trainer.updates) as progress:
                    trainer.imagine(updates, progress, metrics)
            else:
                with Progress(1, f"preparing {chosen.name}", unit="head") as progress:
                    trainer.imagine(0, progress, metrics)
                    progress.advance(1)
                click.echo(f"{chosen.name} has nothing to train: its {chosen.head} acts as it is.", err=True)
                click.echo(f"`manyheads evaluate {world} {chosen.name}` plays it.", err=True)
            if steps:
                with Progress(steps, f"collecting for {chosen.name}", start=trainer.steps) as progress:
                    trainer.collect_and_learn(steps, progress, metrics)
    finally:
        trainer.close()
