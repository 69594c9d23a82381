"""`manyheads evaluate`: plays heads in the real simulator and compares them with random actions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from manyheads.learning.evaluate import Evaluation, bootstrap, bootstrap_difference, play, success_rate
from manyheads.report.progress import Progress
from manyheads.storage import atomic
from manyheads.storage.agent import load

FILE = "evaluations.json"


@click.command()
@click.argument("world", type=click.Path(path_type=Path))
@click.argument("tasks", nargs=-1)
@click.option("--episodes", default=10, show_default=True, type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
def evaluate(world: Path, tasks: tuple[str, ...], episodes: int, as_json: bool) -> None:
    """Play the heads of WORLD (all, or those of TASKS) and a random policy on reserved seeds."""
    loaded = load(world)
    results: list[Evaluation] = []
    names = tasks or loaded.heads
    with Progress(2 * len(names) * episodes, "evaluating", unit="episodes") as progress:
        for name in names:
            agent = loaded.head(name)
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
    save(world / FILE, results)
    if as_json:
        click.echo(json.dumps([result.record() for result in results], indent=1))
    else:
        Console().print(table(results))


def table(results: list[Evaluation]) -> Table:
    """One line a task and policy."""
    view = Table(title="Returns under each task's own reward, mean and bootstrap 95% interval")
    for heading in ("task", "policy", "return", "simulator", "success", "better than random by"):
        view.add_column(heading, justify="left" if heading in ("task", "policy") else "right")
    for result in results:
        simulator = sum(episode.return_simulator for episode in result.episodes) / len(result.episodes)
        difference = result.difference
        view.add_row(
            result.task,
            result.policy,
            f"{result.returns.mean:.1f} [{result.returns.low:.1f}, {result.returns.high:.1f}]",
            f"{simulator:.1f}",
            "" if result.success_rate is None else f"{result.success_rate:.0%}",
            "" if difference is None else f"{difference.mean:.1f} [{difference.low:.1f}, {difference.high:.1f}]",
            end_section=result.policy == "head",
        )
    return view


def save(path: Path, results: list[Evaluation]) -> None:
    """Puts the results into the world's record; earlier ones of the same tasks are replaced."""
    kept: list[dict[str, Any]] = atomic.read_json(path) if path.exists() else []
    fresh = {result.task for result in results}
    kept = [record for record in kept if record["task"] not in fresh]
    atomic.write_json(path, kept + [result.record() for result in results])
