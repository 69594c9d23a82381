"""What experiments share: worlds trained once, results kept in their folder, curves, intervals over seeds, one table.

An experiment trains its worlds in FOLDER/<seed>/ and keeps what it measured there, too. Ctrl-C saves; the same command
continues, and leaves alone what is done. A line of its table is a mapping from headings to plain values.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np

from manyheads import SharedWorld, Task, atomic, open_world
from manyheads.cli.console import table
from manyheads.learning.aggregate import stratified_bootstrap
from manyheads.report import metrics
from manyheads.storage.evaluations import Interval

Line = Mapping[str, Any]
Curve = list[list[float]]
"""(steps of the environment, mean return of the training episodes that ended since the point before)"""

POINTS = 6
"""of a curve"""


@dataclass(frozen=True)
class Experiment:
    """Where one seed of an experiment lies, and how its worlds are made and played."""

    folder: Path
    seed: int
    preset: str
    settings: tuple[str, ...]
    episodes: int

    def world(self, name: str, *settings: str) -> SharedWorld:
        """The world of that name, made with these settings on top of the preset; those of the user come last."""
        return open_world(self.folder / name, self.preset, (f"seed={self.seed}", *settings, *self.settings))

    def trained(self, name: str, tasks: Sequence[str | Task], steps: int, *settings: str) -> SharedWorld:
        """The same, trained jointly on the tasks until it has so many rows."""
        world = self.world(name, *settings)
        return world if world.steps >= steps else world.train(tasks, steps)

    def copied(self, world: SharedWorld, name: str, *settings: str) -> SharedWorld:
        """A copy of a world under another name, as it is now; made once."""
        copy = self.world(name, *settings)
        if not copy.path.exists():
            unfinished = copy.path.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.copytree(world.path, unfinished)
            unfinished.rename(copy.path)
        return copy

    def kept(self, name: str, compute: Callable[..., Any], *arguments: Any) -> Any:
        """What `compute` returns of this run and the arguments, JSON-able; computed once and read back from then on.

        Raises ClickException where it was computed of other arguments.
        """
        path, asked = self.folder / "results" / f"{name}.json", [*map(str, arguments), f"{self.episodes} episodes"]
        if not path.exists():
            atomic.write_json(path, {"of": asked, "result": compute(self, *arguments)})
        found = atomic.read_json(path)
        if found["of"] != asked:
            raise click.ClickException(
                f"{path} was measured with {', '.join(found['of'])}, not with {', '.join(asked)}; take another FOLDER."
            )
        return found["result"]

    def returns(self, world: SharedWorld, task: str) -> dict[str, list[float]]:
        """Returns of the task's own reward that its head, and random actions, earn in the same reserved episodes."""
        found = world.evaluate(task, self.episodes, record=False)
        return {each.policy: [episode.return_task for episode in each.episodes] for each in found}


def options(
    steps: int, help: str = "rows of the shared world", preset: str = "demo"
) -> Callable[[Callable[..., None]], click.Command]:
    """The command line that experiments have in common; below it lie options of their own.

    The function takes an `Experiment` for each seed, then `steps`, `as_json` and its own options by name.
    """

    def command(function: Callable[..., None]) -> click.Command:
        @wraps(function)
        def run(folder: Path, seeds: int, episodes: int, settings: tuple[str, ...], **others: Any) -> None:
            runs = [Experiment(folder / f"seed-{seed}", seed, preset, settings, episodes) for seed in range(seeds)]
            function(runs, **others)

        for option in (
            click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table"),
            click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="a setting of every world"),
            click.option("--episodes", default=10, show_default=True, type=click.IntRange(min=2), help="each policy's"),
            click.option(
                "--seeds", default=1, show_default=True, type=click.IntRange(min=1), help="how many, from 0 on"
            ),
            click.option("--steps", default=steps, show_default=True, type=click.IntRange(min=1), help=help),
            click.argument("folder", type=click.Path(path_type=Path)),
        ):
            option(run)
        return click.command()(run)

    return command


def over_seeds(returns: Iterable[Sequence[float]]) -> Interval:
    """Mean of all episodes and its bootstrap 95% interval; episodes are resampled seed by seed."""
    runs = {str(seed): np.asarray(each) for seed, each in enumerate(returns)}
    return stratified_bootstrap(runs, lambda values: float(values.mean()))


def curve(world: SharedWorld, task: str, share: float = 1.0, since: int = 0) -> Curve:
    """A task's training episodes over the steps of its environment: a `share` of the world's rows `since` it joined."""
    series = metrics.read(world.path).get(f"{task}/return", metrics.Series())
    rows, values = np.array(series.step, float) - since, np.array(series.value)
    edges = np.linspace(0, world.steps - since, POINTS + 1)
    inside = [(rows > low) & (rows <= high) for low, high in pairwise(edges)]
    return [
        [round(share * high), float(values[here].mean())]
        for high, here in zip(edges[1:].tolist(), inside, strict=True)
        if here.any()
    ]


def show(title: str, lines: Sequence[Line], as_json: bool, **facts: Any) -> None:
    """Prints the lines as a table below its title and above the facts; or all of it as one JSON object."""
    if as_json:
        click.echo(json.dumps({**facts, "lines": lines}, indent=1, default=asdict))
        return
    click.echo(f"\n{title}")
    table([{heading: _cell(value) for heading, value in line.items()} for line in lines])
    for name, value in facts.items():
        click.echo(f"{name}: {_cell(value)}")


def _cell(value: Any) -> str:
    """A value as a person reads it; a curve is its returns in turn."""
    match value:
        case None:
            return ""
        case Interval(mean, low, high):
            return f"{mean:.4g}" if low is None or high is None else f"{mean:.4g} [{low:.4g}, {high:.4g}]"
        case bool() | str():
            return str(value)
        case float():
            return f"{value:.4g}"
        case int():
            return f"{value:,}"
        case list() if all(isinstance(point, list) for point in value):
            return " ".join(f"{earned:.4g}" for _, earned in value)
        case _:
            return " ".join(map(_cell, value))
