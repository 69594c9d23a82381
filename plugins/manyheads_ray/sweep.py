"""`manyheads sweep`: tasks x seeds x settings, as many at a time as the cluster has room for; one table, one page."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from manyheads import ManyheadsError, load_task
from manyheads.registry import registry
from manyheads.training import Job, Progress, rows_of, rows_saved
from manyheads_ray.sweep_page import Cell, read_cells, write_page


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.argument("tasks", nargs=-1, required=True)
@click.option("--steps", default=100_000, show_default=True, type=click.IntRange(min=1), help="rows of each world")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=1), help="worlds of each kind")
@click.option("--settings", "source", help="a packaged preset's name or a YAML file")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="one setting of all, or ray.OPTION=VALUE")
@click.option("--vary", multiple=True, metavar="KEY=A,B,…", help="one setting with several values; may be repeated")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
def sweep(
    folder: Path,
    tasks: tuple[str, ...],
    steps: int,
    seeds: int,
    source: str | None,
    overrides: tuple[str, ...],
    vary: tuple[str, ...],
    as_json: bool,
) -> None:
    """Train a world for each of TASKS, seeds and settings, in FOLDER/worlds, and compare them.

    Each world is one `manyheads train`, on one learner_cpus of the cluster. The same command resumes where it stopped,
    also with more seeds, tasks or steps. Writes FOLDER/sweep.html and FOLDER/sweep.json.
    """
    kind = registry().runners["ray"]
    own = [text for text in overrides if text.startswith("ray.")]
    options = dict(text.removeprefix("ray.").split("=", 1) for text in own)
    shared = [text for text in overrides if text not in own]
    settings = kind.read_settings(options)
    names = [load_task(name).name for name in tasks]
    cells = [
        Cell(name, ", ".join(varied), seed, folder / "worlds" / _folder(name, varied, seed))
        for name, varied, seed in product(names, _variants(vary), range(seeds))
    ]
    given = dict(zip(names, tasks, strict=True))
    jobs = []
    for cell in cells:
        varied = cell.settings.split(", ") if cell.settings else []
        sets = [f"seed={cell.seed}", *shared, *varied]
        preset = ["--settings", source] if source else []
        flags = [part for text in sets for part in ("--set", text)]
        arguments = ("train", str(cell.world), given[cell.task], "--steps", str(steps), *preset, *flags)
        jobs.append(Job(cell.label, arguments, cell.world, steps))
    waiting = [job for job in jobs if rows_saved(job.world) < steps]
    done = sum(min(rows_of(job.world), steps) for job in jobs)
    assert kind.run_all is not None
    with Progress(steps * len(jobs), f"sweep of {len(jobs)} worlds", start=done) as progress:
        failed = kind.run_all(waiting, progress, settings) if waiting else {}
    table = read_cells(cells)
    write_page(folder, table)
    if as_json:
        click.echo(json.dumps(table, indent=1))
    else:
        _print(table)
    click.echo(f"Curves: {folder / 'sweep.html'}", err=True)
    if failed:
        lines = "\n".join(f"  {name}: {words}" for name, words in failed.items())
        raise ManyheadsError(f"{len(failed)} of {len(jobs)} worlds failed; the same command tries them again.\n{lines}")


def _variants(vary: tuple[str, ...]) -> list[tuple[str, ...]]:
    """All combinations of the varied settings, as `KEY=VALUE`."""
    axes = []
    for text in vary:
        key, equals, values = text.partition("=")
        if not equals or not all(values.split(",")):
            raise ManyheadsError(f"--vary {text}: expected KEY=A,B with at least one value, as optimizer.lr=1e-4,4e-5.")
        axes.append([f"{key}={value}" for value in values.split(",")])
    return [*product(*axes)]


def _folder(task: str, varied: tuple[str, ...], seed: int) -> str:
    safe = [text.replace("/", "__") for text in (task, *varied)]
    return "-".join([*safe, str(seed)])


def _print(table: list[dict[str, Any]]) -> None:
    grid = Table()
    for name in ("task", "settings", "seeds", "rows", "return", "lowest", "highest"):
        grid.add_column(name)
    for row in table:
        numbers = ["—" if row[key] is None else f"{row[key]:.4g}" for key in ("return", "lowest", "highest")]
        grid.add_row(row["task"], row["settings"] or "as given", str(len(row["seeds"])), f"{row['rows']:,}", *numbers)
    Console(width=160).print(grid)
