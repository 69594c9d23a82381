"""`manyheads watch`: a video of a head at work, real next to imagined."""

from __future__ import annotations

from pathlib import Path

import click

from manyheads.cli.options import WorldPath
from manyheads.parameters import NewFile


@click.command()
@click.argument("world", type=WorldPath())
@click.argument("task", required=False)
@click.option("--out", type=NewFile(".mp4"), help="the mp4; by default WORLD/videos/TASK.mp4")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="of episode and actions")
@click.option("--steps", default=300, show_default=True, type=click.IntRange(min=2), help="longest length")
@click.option(
    "--context",
    default=10,
    show_default=True,
    type=click.IntRange(min=1),
    help="rows that the world sees first",
)
@click.option("--best", is_flag=True, help="the head that was best when it was evaluated while training")
def watch(world: Path, task: str | None, out: Path | None, seed: int, steps: int, context: int, best: bool) -> None:
    """Write a video of TASK's head in WORLD, or of its only head: the real episode next to the imagined one.

    After the first rows the world continues without seeing the simulator again: once with the same actions, once
    with those that the head chooses in imagination.
    """
    from manyheads.report.text import number
    from manyheads.report.videos import real_and_imagined
    from manyheads.storage.agent import load

    agent = load(world, best).head(task)
    clip = real_and_imagined(agent.world, agent.head, agent.task, seed, steps, context)
    path = world / "videos" / f"{agent.task.slug}.mp4" if out is None else out
    clip.write(path)
    rows, earned = len(clip.played.vector), clip.played.reward.sum()
    click.echo(f"Wrote {path}: {rows} steps, return {number(earned)} under the task's own reward.")
