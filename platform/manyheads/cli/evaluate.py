"""`manyheads evaluate`: plays heads in the real simulator and compares them with random actions."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import click

from manyheads.api.references import aggregated
from manyheads.api.scoring import evaluate_heads, keep, with_drops
from manyheads.cli.console import stdout_for_results
from manyheads.cli.options import WorldPath
from manyheads.learning.aggregate import Aggregate
from manyheads.report.progress import Progress
from manyheads.report.text import mean_and_interval, number, plain
from manyheads.storage import ledger
from manyheads.storage.agent import load
from manyheads.storage.evaluations import Evaluation
from manyheads.storage.head_folders import foreign_words

STALE = "  (stale: the world model was trained on since; fine-tune it again)"
HEADINGS = ("", "return", "simulator", "success", "better than random by")


@click.command()
@click.argument("world", type=WorldPath())
@click.argument("tasks", nargs=-1)
@click.option("--episodes", default=10, show_default=True, type=click.IntRange(min=1))
@click.option("--best", is_flag=True, help="the best heads of the evaluations while training; nothing is recorded")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
def evaluate(world: Path, tasks: tuple[str, ...], episodes: int, best: bool, as_json: bool) -> None:
    """Play the heads of WORLD (all, or those of TASKS) and a random policy on reserved seeds.

    Results are kept in WORLD, unless what is there of the same head has more episodes.
    """
    loaded = load(world, best)
    if words := foreign_words(loaded.folder):
        click.echo(words, err=True)
    total = 2 * episodes * len(tasks or loaded.heads)
    with stdout_for_results(), Progress(total, "evaluating", unit="episodes") as progress:
        results = evaluate_heads(loaded, tasks, episodes, progress)
    stale = {name for name in loaded.heads if loaded.folder.is_stale(name) and not best}
    names = list(dict.fromkeys(each.task for each in results))
    over_all = aggregated(results, [loaded.folder.task(name) for name in names])
    scores, lost = ([], []) if best else with_drops(loaded.folder, results)
    if as_json:
        content = {
            "evaluations": [{**each.record(), "stale": each.task in stale} for each in results],
            "aggregate": None if over_all is None else over_all.record(),
            "dropped": [each.record() for each in lost],
        }
        click.echo(json.dumps(content, indent=1))
    else:
        click.echo("\n".join([*lines(results, stale), *aggregate_lines(over_all)]))
        for each in lost:
            click.echo(f"Dropped: {each}")
    if best:
        return
    more = keep(world, results)
    ledger.write(loaded.folder.path, scores)
    if more:
        click.echo(f"The record of {', '.join(more)} stays: it has more episodes of the same head.", err=True)


def aggregate_lines(over_all: Aggregate | None) -> Iterator[str]:
    """All heads as one number, where more than one can be normalised."""
    if over_all is None or len(over_all.tasks) < 2:
        return
    mean, middle = mean_and_interval(over_all.mean), mean_and_interval(over_all.interquartile_mean)
    yield f"\nOver {len(over_all.tasks)} heads, 0 for random actions and 1 for the reference: mean {mean}, "
    yield f"interquartile mean {middle}"
    for each in over_all.tasks:
        kind = "published score" if each.reference.kind == "published" else "most that it pays"
        score = number(sum(each.scores) / len(each.scores))
        yield f"  {plain(each.task)}: {score} of {number(each.reference.value)} ({kind})"
    if over_all.without_reference:
        yield f"  without a reference: {', '.join(map(plain, over_all.without_reference))}"


def lines(results: Sequence[Evaluation], stale: Collection[str] = ()) -> Iterator[str]:
    """A table whose rows stand under their task's name, which may be long; `stale` heads are marked."""
    rows = [_cells(result) for result in results]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    several = len(results[0].episodes) > 1 if results else False
    how = "mean and bootstrap 95% interval" if several else "of one episode"
    yield f"Returns under each task's own reward: {how}\n"
    yield _line(HEADINGS, widths)
    for i, (result, row) in enumerate(zip(results, rows, strict=True)):
        if i == 0 or results[i - 1].task != result.task:
            mark = STALE if result.task in stale else ""
            yield click.style(plain(result.task), bold=True) + mark
        yield _line(row, widths)


def _cells(result: Evaluation) -> tuple[str, ...]:
    simulator = sum(episode.return_simulator for episode in result.episodes) / len(result.episodes)
    return (
        result.policy,
        mean_and_interval(result.returns),
        number(simulator),
        "" if result.success_rate is None else f"{result.success_rate:.0%}",
        "" if result.difference is None else mean_and_interval(result.difference),
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    policy, *numbers = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    return "  " + "  ".join([policy.strip().ljust(widths[0]), *numbers]).rstrip()
