"""`manyheads why`: what a head's real return differs by from the predicted one."""

from __future__ import annotations

import json
from pathlib import Path

import click

from manyheads.cli.console import stdout_for_results
from manyheads.parameters import NewFile
from manyheads.storage.evaluations import RESERVED_SEEDS


@click.command()
@click.argument("world", type=click.Path(path_type=Path))
@click.argument("task", required=False)
@click.option("--seed", default=RESERVED_SEEDS, show_default=True, type=click.IntRange(min=0), help="of the episode")
@click.option(
    "--samples", default=16, show_default=True, type=click.IntRange(min=1), help="times that the episode is imagined"
)
@click.option("--out", type=NewFile(".html", ".svg"), help="the drawing; by default WORLD/why/TASK.html")
@click.option("--json", "as_json", is_flag=True, help="print JSON, rewards step by step included")
def why(world: Path, task: str | None, seed: int, samples: int, out: Path | None, as_json: bool) -> None:
    """Replay one real episode of the head of TASK (or the only one) inside WORLD, and split the gap between predicted
    and real return.

    Into model error (imagined states under the real actions), reward error (rewards predicted of the true states) and
    policy error (the head acts otherwise in imagination).
    """
    from manyheads.report.progress import Progress
    from manyheads.report.why import explain
    from manyheads.report.why_page import advice, table, write
    from manyheads.storage.agent import load

    agent = load(world).head(task)
    with stdout_for_results(), Progress(1, f"playing and imagining {agent.task.name}", unit="episodes") as progress:
        gap = explain(agent.world, agent.head, agent.task, seed, samples)
        progress.advance(1)
    path = out or world / "why" / f"{agent.task.slug}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, gap)
    if as_json:
        click.echo(json.dumps(gap.record(), indent=1))
        return
    click.echo(click.style(f"{gap.task}: one episode of {gap.steps} steps, seed {gap.seed}", bold=True))
    for name, value in table(gap):
        click.echo(f"  {name:18}{value:>10}")
    click.echo(advice(gap))
    click.echo(f"Wrote {path}.")
