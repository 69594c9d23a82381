"""`manyheads finetune`: heads on a frozen world, in imagination alone or with new experience."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from manyheads.api.finetuning import finetune as run_finetuning
from manyheads.api.run import RunOptions, monitoring
from manyheads.api.scoring import quick_check, quick_episodes
from manyheads.callbacks import EarlyStopping
from manyheads.cli import options
from manyheads.cli.console import stdout_for_results
from manyheads.errors import ManyheadsError
from manyheads.kinds import split_overrides
from manyheads.learning.evaluate import bootstrap
from manyheads.storage import ledger
from manyheads.storage.agent import load
from manyheads.storage.evaluations import Interval
from manyheads.storage.world_folder import WorldFolder


@click.command()
@click.argument("world", type=options.WorldPath())
@click.argument("tasks", nargs=-1, required=True)
@click.option("--updates", default=2000, show_default=True, type=click.IntRange(min=0), help="updates in imagination")
@click.option(
    "--steps", default=0, show_default=True, type=click.IntRange(min=0), help="new rows to collect after that"
)
@click.option("--head", help="another kind of head than TASKS name; a task is then called TASK.KIND")
@click.option(
    "--start",
    default="fresh",
    show_default=True,
    metavar="auto|fresh|TASK",
    help="what new heads begin as; auto: the head that earns most in imagination",
)
@click.option(
    "--explore",
    default=0,
    metavar="N",
    type=click.IntRange(min=0),
    help="first collect N rows where the world model is least sure",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="a setting of the machine, of a runner or a logger"
)
@click.option(
    "--check/--no-check",
    default=True,
    show_default=True,
    help="predict the return at the end, and play a few real episodes",
)
@click.option("--json", "as_json", is_flag=True, help="print what was found of each task as JSON")
@options.runner("heads train in imagination")
@options.evaluate_every
@options.patience
@options.log
def finetune(
    world: Path,
    tasks: tuple[str, ...],
    updates: int,
    steps: int,
    head: str | None,
    start: str,
    explore: int,
    overrides: tuple[str, ...],
    check: bool,
    as_json: bool,
    runner: str,
    evaluate_every: int,
    evaluate_episodes: int,
    patience: int | None,
    loggers: tuple[str, ...],
) -> None:
    """Train a head for each of TASKS on the frozen WORLD; those of one environment train as one batch.

    A task is a name, a task file, an environment's name, or a head that WORLD already has. Ctrl-C saves; the same
    command continues. `--updates`, `--steps` and `--explore` are totals. At the end heads play a few real episodes,
    compared with what was predicted of them, and it is said where one does no better than random.

    A runner other than `local` trains the heads in parts, on several processes or machines, with the same numbers;
    rows are collected, and heads played, in this process.
    """
    settings, own = split_overrides(overrides, [runner, *loggers])
    if patience is not None and not evaluate_every:
        raise ManyheadsError("--patience counts evaluations; say how often with --evaluate-every UPDATES.")
    callbacks = [] if patience is None else [EarlyStopping(patience=patience)]
    run = RunOptions(monitoring(callbacks, evaluate_every, evaluate_episodes), loggers, own)
    with stdout_for_results():
        found = run_finetuning(
            world,
            tasks,
            updates,
            steps,
            run,
            head=head,
            overrides=settings,
            start=start,
            explore=explore,
            predict=check,
            runner=runner,
            runner_options=own[runner],
        )
        for name in found if check else ():
            if (played := quick_episodes(load(world), name)) is None:
                continue
            ledger.record(WorldFolder.open(world), {name: played[0]})
            predicted = Interval(**found[name]["predicted"])
            found[name]["real"], found[name]["random"] = (asdict(bootstrap(returns)) for returns in played)
            click.echo(quick_check(world, name, *played, predicted), err=True)
    if as_json:
        click.echo(json.dumps(found, indent=1))
