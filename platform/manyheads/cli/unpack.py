"""`manyheads unpack`: a pack as a world's folder, its heads into their world, or what it says of itself."""

from __future__ import annotations

from pathlib import Path

import click

from manyheads.storage.packaged_worlds import packaged_worlds
from manyheads.storage.packs import CARD, Pack
from manyheads.storage.unpacking import unpack as unpack_into


@click.command()
@click.argument("pack", type=click.Path(path_type=Path))
@click.argument("world", required=False, type=click.Path(path_type=Path))
@click.option("--adapt", is_flag=True, help="let heads join another WORLD than theirs, to be fine-tuned there")
@click.option("--json", "as_json", is_flag=True, help="print the pack's manifest as JSON")
def unpack(pack: Path, world: Path | None, adapt: bool, as_json: bool) -> None:
    """Unpack PACK, a file or the name of a packaged world, into the folder WORLD, or add its heads to their WORLD.

    Without WORLD, print the model card: what the heads do and how well. Whatever was changed since it was packed is
    refused.
    """
    opened = Pack.open(packaged_worlds().get(str(pack), pack))
    folder = None if world is None else unpack_into(opened, world, adapt)
    if as_json:
        click.echo(opened.manifest.model_dump_json(indent=1))
    elif folder is None:
        click.echo(opened.read(CARD).decode("utf-8", "replace"))
    else:
        names = [head.name for head in opened.manifest.heads]
        there = ", ".join(names) or "no heads"
        click.echo(f"{folder.path} has {there} now. `manyheads show {folder.path}` looks at it.")
        if stale := " ".join(name for name in names if folder.is_stale(name)):
            advice = f"`manyheads finetune {folder.path} {stale}`"
            click.echo(f"Trained on another world, they act blindly until {advice}.", err=True)
