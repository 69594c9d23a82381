"""`manyheads train`: a world and its heads, jointly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from manyheads.cli import options
from manyheads.errors import ManyheadsError
from manyheads.kinds import split_overrides
from manyheads.learning.device import check_device
from manyheads.parameters import NamedPath
from manyheads.registry import registry
from manyheads.report.metrics import Metrics
from manyheads.report.open_loggers import Loggers, choose_loggers
from manyheads.report.progress import Progress
from manyheads.settings import differences, load_settings
from manyheads.storage.growth import grow, growth, records
from manyheads.storage.world_folder import WORLD, WorldFolder, clear_empty, is_empty
from manyheads.task import Task, load_task


@click.command()
@click.argument("world", type=NamedPath())
@click.argument("tasks", nargs=-1)
@click.option("--steps", default=100_000, show_default=True, type=click.IntRange(min=1), help="rows to collect in all")
@click.option("--settings", "source", help="a packaged preset's name or a YAML file; only for a new world")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="one setting; only for a new world")
@click.option(
    "--runner", default="local", show_default=True, metavar="NAME", help="where it runs (`manyheads list runners`)"
)
@options.log
def train(
    world: Path,
    tasks: tuple[str, ...],
    steps: int,
    source: str | None,
    overrides: tuple[str, ...],
    runner: str,
    loggers: tuple[str, ...],
) -> None:
    """Train WORLD and a head for each of TASKS jointly, from scratch or from where it stopped.

    WORLD grows where TASKS need environments that it does not know; what it has learned stays as it is.
    Without TASKS an existing world goes on with those it had. Ctrl-C saves; the same command goes on.
    Options of the runner and of loggers are set by their names, at any time: `--set NAME.option=value`.
    """
    kind = registry().runners[runner]
    settings, own = split_overrides(overrides, [runner, *loggers])
    runner_settings, openers = kind.read_settings(own[runner]), choose_loggers(loggers, own)
    folder, chosen = open_or_create(world, [load_task(name).built() for name in tasks], source, settings)
    for task in chosen:
        folder.save_task(task)
    begun = int(folder.checkpoint.state.get("steps", 0))
    if begun >= steps:
        click.echo(f"{world} has collected {begun:,} steps already; --steps says how many in all.", err=True)
    logger = Loggers(openers, folder, chosen)
    with Metrics(world, logger) as metrics, Progress(steps, "training", start=begun) as progress:
        kind.run(folder, chosen, steps, progress, metrics, runner_settings)


def open_or_create(
    world: Path, tasks: Sequence[Task], source: str | Path | None, overrides: Sequence[str]
) -> tuple[WorldFolder, list[Task]]:
    """The world folder, made for the tasks if it is new, and its tasks."""
    chosen = list(tasks)
    if (world / WORLD).exists() and (not chosen or not is_empty(world)):
        folder = WorldFolder.open(world)
        if source is not None or overrides:
            _require_own(folder, source, overrides)
        last = folder.checkpoint.state.get("runs", {}).get("train", {}).get("tasks", [])
        if not chosen and (gone := sorted({*last} - {*folder.heads})):
            raise ManyheadsError(
                f"The heads of {', '.join(gone)} were deleted from {world}: name the tasks to train it on from here."
            )
        chosen = chosen or [folder.task(name) for name in last]
        if not chosen:
            raise ManyheadsError(f"Name at least one task to train {world} on; `manyheads list tasks` shows them.")
        grown = grow(folder, chosen)
        if gained := growth(folder, grown):
            click.echo(gained, err=True)
        return grown, chosen
    if not chosen:
        raise ManyheadsError(f"{world} is new: name at least one task. `manyheads list tasks` shows what there is.")
    settings = load_settings(source, overrides)
    check_device(settings.training.device)
    found = records(chosen)
    clear_empty(world)
    return WorldFolder.create(world, settings, found), chosen


def _require_own(folder: WorldFolder, source: str | Path | None, overrides: Sequence[str]) -> None:
    """Refuses settings that are not the world's own; where only a preset has changed since, the world's stand."""
    wrong, changed = differences(folder.settings, source, overrides)
    if wrong:
        raise ManyheadsError(
            f"{folder.path} was made with other settings: {', '.join(wrong)}. They are in {folder.path / WORLD}. "
            "Leave out what differs to go on with them, or start another world."
        )
    if changed and source is not None:
        click.echo(f"{folder.path} goes on with its own settings; {source} differs in {', '.join(changed)}.", err=True)
