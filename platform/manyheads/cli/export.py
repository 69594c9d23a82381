"""`manyheads export`: heads as ONNX graphs, experience as a Minari data set."""

from __future__ import annotations

import json
from pathlib import Path

import click

from manyheads.cli import console
from manyheads.cli.options import WorldPath
from manyheads.errors import ManyheadsError


@click.command()
@click.argument("world", type=WorldPath())
@click.argument("task", required=False)
@click.option("--onnx", type=click.Path(path_type=Path, file_okay=False), help="a folder for the head of TASK")
@click.option("--minari", type=click.Path(path_type=Path), help="a folder for what WORLD has recorded")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
def export(world: Path, task: str | None, onnx: Path | None, minari: Path | None, as_json: bool) -> None:
    """Write what WORLD holds in the form of another library.

    --onnx: `policy.onnx` (one step of acting), `world.onnx` (one imagined step) and `onnx.json` (names and sizes), once
    both graphs compute what torch does. --minari: a data set for each environment, which `manyheads import` reads back.
    """
    if (onnx is None) == (minari is None):
        raise ManyheadsError("Say what to write, one at a time: --onnx FOLDER or --minari FOLDER.")
    if minari is not None:
        if task is not None:
            raise ManyheadsError(f"Data sets hold what every head has recorded; leave out {task}.")
        return _minari(world, minari, as_json)
    assert onnx is not None
    return _onnx(world, task, onnx, as_json)


def _minari(world: Path, out: Path, as_json: bool) -> None:
    from manyheads.exchange.minari_export import export_minari
    from manyheads.report.progress import Progress
    from manyheads.storage.world_folder import WorldFolder

    folder = WorldFolder.open(world)
    with (
        console.stdout_for_results(),
        Progress(folder.replay(read_only=True).rows, "exporting", unit="rows") as progress,
    ):
        written = export_minari(folder, out, progress.advance)
    if as_json:
        click.echo(json.dumps([str(path) for path in written]))
    else:
        click.echo(f"Wrote {', '.join(map(str, written))}. `manyheads import WORLD minari:FOLDER` reads one back.")


def _onnx(world: Path, task: str | None, onnx: Path, as_json: bool) -> None:
    from manyheads.exchange.onnx_export import export_onnx
    from manyheads.storage.agent import load

    agent = load(world).head(task)
    with console.stdout_for_results():
        checks = export_onnx(agent, onnx)
    rows = [check._asdict() for check in checks]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    shown = [
        {"graph": row["graph"], "max difference to torch": f"{row['max_difference']:.1e}",
         "ms a step": f"{row['milliseconds']:.2f}"}
        for row in rows
    ]  # fmt: skip
    console.table(shown)
    click.echo(f"Wrote {onnx}: policy.onnx, world.onnx and onnx.json.")
