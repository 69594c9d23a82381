"""`manyheads pack`: heads, and their world, as one file to hand on."""

from __future__ import annotations

from pathlib import Path

import click

from manyheads.cli.options import WorldPath
from manyheads.parameters import NewFile
from manyheads.storage.agent import load
from manyheads.storage.packing import pack as make_pack
from manyheads.storage.packs import SUFFIX


@click.command()
@click.argument("world", type=WorldPath())
@click.argument("tasks", nargs=-1)
@click.option("--out", type=NewFile(SUFFIX), required=True, help=f"the pack, NAME{SUFFIX}")
@click.option("--world-only", is_flag=True, help="no heads")
@click.option("--without-world", is_flag=True, help="the heads alone, for those who have the world")
@click.option("--with-replay", is_flag=True, help="also what was recorded, which training further heads needs")
@click.option("--licence", default="", help="under which others may use it, for example Apache-2.0")
@click.option("--json", "as_json", is_flag=True, help="print the pack's manifest as JSON")
def pack(
    world: Path,
    tasks: tuple[str, ...],
    out: Path,
    world_only: bool,
    without_world: bool,
    with_replay: bool,
    licence: str,
    as_json: bool,
) -> None:
    """Pack the heads of WORLD (all, or those of TASKS) with their world into one file.

    The file holds weights, tasks, how well the heads played (`manyheads evaluate`), and a model card; no code.
    `manyheads.load(FILE)` acts with it, `manyheads unpack FILE WORLD` makes a world of it again.
    """
    loaded = load(world)
    chosen = () if world_only else tasks or loaded.heads
    manifest = make_pack(loaded, chosen, out, licence, world=not without_world, replay=with_replay)
    if as_json:
        click.echo(manifest.model_dump_json(indent=1))
        return
    played = [head.name for head in manifest.heads if head.evaluations]
    click.echo(
        f"Wrote {out}: {out.stat().st_size / 1e6:.1f} MB, {len(manifest.heads)} heads, licence: {licence or 'none'}."
    )
    if missing := [head.name for head in manifest.heads if head.name not in played]:
        click.echo(
            f"Nobody can see how good {', '.join(missing)} is: `manyheads evaluate {world}`, then pack again.", err=True
        )
