"""`manyheads evaluate`: plays heads in the real simulator and compares them with random actions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from manyheads.cli.console import stdout_for_results
from manyheads.errors import ManyheadsError
from manyheads.learning.evaluate import bootstrap, bootstrap_difference, play, success_rate
from manyheads.parameters import NamedPath
from manyheads.report.progress import Progress
from manyheads.report.text import number, plain
from manyheads.storage.agent import load
from manyheads.storage.evaluations import Evaluation, Interval, read, save

HEADINGS = ("", "return", "simulator", "success", "better than random by")


@click.command()
@click.argument("world", type=NamedPath())
@click.argument("tasks", nargs=-1)
@click.option("--episodes", default=10, show_default=True, type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
def evaluate(world: Path, tasks: tuple[str, ...], episodes: int, as_json: bool) -> None:
    """Play the heads of WORLD (all, or those of TASKS) and a random policy on reserved seeds."""
    loaded = load(world)
    read(world)  # a damaged record is refused before anything is played
    results: list[Evaluation] = []
    agents = {name: loaded.head(name) for name in tasks or loaded.heads}
    with stdout_for_results(), Progress(2 * len(agents) * episodes, "evaluating", unit="episodes") as progress:
        for name, agent in agents.items():
            baseline = play(agent.task, episodes)
            progress.advance(episodes)
            played = play(agent.task, episodes, agent.world, agent.head)
            progress.advance(episodes)
            random = [result.return_task for result in baseline]
            own = [result.return_task for result in played]
            steps = int(loaded.folder.checkpoint.state.get("steps", 0))
            results.append(Evaluation(name, "random", steps, baseline, bootstrap(random), success_rate(baseline)))
            difference = bootstrap_difference(own, random)
            results.append(Evaluation(name, "head", steps, played, bootstrap(own), success_rate(played), difference))
    if as_json:
        click.echo(json.dumps([result.record() for result in results], indent=1))
    else:
        click.echo("\n".join(lines(results)))
    try:
        save(world, results)
    except ManyheadsError as error:
        raise ManyheadsError(f"These results were not kept. {error}") from error


def lines(results: Sequence[Evaluation]) -> Iterator[str]:
    """A table whose rows stand under their task's name, which may be long."""
    rows = [_cells(result) for result in results]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    yield "Returns under each task's own reward: mean and bootstrap 95% interval\n"
    yield _line(HEADINGS, widths)
    for i, (result, row) in enumerate(zip(results, rows, strict=True)):
        if i == 0 or results[i - 1].task != result.task:
            yield click.style(plain(result.task), bold=True)
        yield _line(row, widths)


def _cells(result: Evaluation) -> tuple[str, ...]:
    simulator = sum(episode.return_simulator for episode in result.episodes) / len(result.episodes)
    return (
        result.policy,
        _interval(result.returns),
        number(simulator),
        "" if result.success_rate is None else f"{result.success_rate:.0%}",
        "" if result.difference is None else _interval(result.difference),
    )


def _interval(found: Interval) -> str:
    return f"{number(found.mean)} [{number(found.low)}, {number(found.high)}]"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    policy, *numbers = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    return "  " + "  ".join([policy.strip().ljust(widths[0]), *numbers]).rstrip()
