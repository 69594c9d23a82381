"""`manyheads train`: a world and its heads, jointly."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from manyheads.api import training
from manyheads.api.budget import Forecast, default_steps, forecast
from manyheads.api.keeping import after_training
from manyheads.api.run import RunOptions, monitoring, resolve_tasks
from manyheads.callbacks import Callback, EarlyStopping, TimeLimit
from manyheads.cli import options
from manyheads.errors import ManyheadsError
from manyheads.kinds import split_overrides
from manyheads.parameters import NamedPath
from manyheads.settings import Settings, load_settings
from manyheads.storage.head_folders import foreign_words
from manyheads.storage.world_folder import WORLD, WorldFolder


@click.command()
@click.argument("world", type=NamedPath())
@click.argument("tasks", nargs=-1)
@click.option("--add", is_flag=True, help="train TASKS with all that WORLD was trained on last")
@click.option("--steps", type=click.IntRange(min=1), help="rows to collect in all  [default: by size]")
@click.option(
    "--updates", type=click.IntRange(min=1), help="collect nothing: so many updates in all on what WORLD has recorded"
)
@click.option("--settings", "source", help="a packaged preset's name or a YAML file")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="one setting")
@options.runner("it runs")
@options.evaluate_every
@options.patience
@options.minutes
@options.yes
@click.option(
    "--keep-heads",
    is_flag=True,
    help="train heads that lost by this in imagination until they are back",
)
@options.log
def train(
    world: Path,
    tasks: tuple[str, ...],
    add: bool,
    steps: int | None,
    updates: int | None,
    source: str | None,
    overrides: tuple[str, ...],
    runner: str,
    evaluate_every: int,
    evaluate_episodes: int,
    patience: int | None,
    minutes: float | None,
    yes: bool,
    keep_heads: bool,
    loggers: tuple[str, ...],
) -> None:
    """Train WORLD and a head for each of TASKS jointly, from scratch or from where it stopped.

    \b
    manyheads train WORLD             continues with all tasks that it was trained on last
    manyheads train WORLD --add TASK  continues with all of them and TASK
    manyheads train WORLD TASK        trains TASK alone

    A task is a name, a file, or an environment's name: then its own reward and time limit. WORLD grows where TASKS need
    environments that it does not know. Heads that are not trained along become stale: you are asked before. Ctrl-C
    saves; the same command continues.

    Settings of the machine (training.device, precision, compile, workers, threads, step_timeout, checkpoint_minutes)
    hold for this command; others of training, optimizer and heads change the world's own, noted in its history.
    Options of the runner and of loggers are set by their names: `--set NAME.option=value`.
    """
    settings, own = split_overrides(overrides, [runner, *loggers])
    folder = WorldFolder.open(world) if (world / WORLD).exists() else None
    if folder is not None and (words := foreign_words(folder)):
        click.echo(words, err=True)
    chosen = training.tasks_of_run(world, resolve_tasks(folder, tasks), add)
    if updates is not None:
        training.learn(world, chosen, updates, RunOptions(loggers=loggers, logger_options=own), settings)
        return
    begun = int(folder.checkpoint.state.get("steps", 0)) if folder else 0
    asked = folder.settings if folder else load_settings(source, settings)
    steps = steps or default_steps(asked) + (begun if add else 0)
    if stale := training.stale_after(world, chosen, steps):
        _confirm(world, tasks, stale, yes)
    said = forecast(asked, len(chosen), begun, steps)
    if said:
        click.echo(said, err=True)
    callbacks: list[Callback] = [*_stopping(patience, minutes, evaluate_every)]
    if runner == "local":
        callbacks.append(_forecast(asked, len(chosen), steps, bool(said)))
    run = RunOptions(monitoring(callbacks, evaluate_every, evaluate_episodes), loggers, own)
    training.train(
        world, chosen, steps, run, source=source, overrides=settings, runner=runner, runner_options=own[runner]
    )
    after_training(world, run, keep_heads)


def _forecast(settings: Settings, tasks: int, steps: int, known: bool) -> Forecast:
    return Forecast(settings, tasks, steps, known, lambda text: click.echo(text, err=True))


def _stopping(patience: int | None, minutes: float | None, evaluate_every: int) -> list[Callback]:
    """Callbacks that end a run early."""
    if patience is not None and not evaluate_every:
        raise ManyheadsError("--patience counts evaluations; say how often with --evaluate-every STEPS.")
    return [
        *([] if patience is None else [EarlyStopping(patience=patience)]),
        *([] if minutes is None else [TimeLimit(minutes)]),
    ]


def _confirm(world: Path, tasks: Sequence[str], stale: Sequence[str], yes: bool) -> None:
    """Says which heads become stale, and asks, unless `yes` has answered."""
    words = training.stale_words(stale)
    named = " ".join(tasks)
    instead = f" `manyheads train {world} --add {named}` trains all together." if tasks else ""
    click.echo(f"{words}{instead}", err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise ManyheadsError("Nothing was trained: nobody answered. --yes continues.")
    if not click.confirm("Continue?", default=False, err=True):
        raise ManyheadsError("Nothing was trained.")
