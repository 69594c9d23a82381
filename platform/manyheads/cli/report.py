"""`manyheads report`: a world as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from manyheads.cli.options import WorldPath
from manyheads.parameters import NewFile
from manyheads.report.text import plain


@click.command()
@click.argument("world", type=WorldPath())
@click.option("--out", type=NewFile(".html", ".htm"), help="where to write it; by default WORLD/report.html")
@click.option(
    "--video-steps",
    default=300,
    show_default=True,
    type=click.IntRange(min=0),
    help="length of each head's video; 0 leaves videos out",
)
def report(world: Path, out: Path | None, video_steps: int) -> None:
    """Write what WORLD learned as one HTML page that needs nothing else.

    Learning curves, evaluations, what each head is paid for, and videos of its episodes next to imagination.
    """
    from manyheads.report.contents import gather
    from manyheads.report.page import write_report
    from manyheads.report.progress import Progress
    from manyheads.storage.world_folder import WorldFolder

    heads = WorldFolder.open(world).heads
    with Progress(len(heads), "playing and imagining", unit="heads") as progress:
        contents = gather(world, video_steps, done=lambda head: progress.advance())
    path = write_report(contents, out)
    for name, problem in contents.unreadable.items():
        click.echo(plain(f"The head {name} can't be shown: {problem}"), err=True)
    click.echo(f"Wrote {path} ({path.stat().st_size / 1e6:.1f} MB).")
