"""`manyheads replay`: what a world has recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from manyheads.cli import console
from manyheads.report.text import number


@click.command()
@click.argument("world", type=click.Path(path_type=Path))
@click.option("--newest", default=10, show_default=True, type=click.IntRange(min=1), help="episodes to list")
@click.option("--episode", type=click.IntRange(min=0), help="this episode alone, with every signal (with --json)")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of tables")
def replay(world: Path, newest: int, episode: int | None, as_json: bool) -> None:
    """Say what WORLD has recorded: its newest episodes, and what was measured of each signal."""
    from manyheads.report.experience import recorded, recorded_episode
    from manyheads.storage.world_folder import WorldFolder

    folder = WorldFolder.open(world)
    facts = recorded(folder, newest) if episode is None else recorded_episode(folder, episode)
    if as_json:
        click.echo(json.dumps(facts))
        return
    if episode is not None:
        console.table([_episode(facts)])
        console.table([_range(name, values) for name, values in facts["signals"].items()])
        return
    click.echo(f"{world}: {facts['rows']:,} rows of {facts['episodes']:,} episodes, {facts['bytes'] / 1e6:,.1f} MB")
    if facts["newest"]:
        console.table([_episode(one) for one in facts["newest"]])
    for one in facts["instances"]:
        click.echo(f"Measured in {one['instance']}, {one['rows']:,} rows of {one['episodes']:,} episodes:")
        console.table([_signal(signal) for signal in one["signals"]])


def _episode(facts: dict[str, Any]) -> dict[str, str]:
    returned = "" if facts["return"] is None else number(facts["return"])
    return {
        "episode": str(facts["episode"]),
        "instance": facts["instance"],
        "rows": f"{facts['rows']:,}",
        "ended": facts["ended"],
        "simulator's return": returned,
    }


def _signal(facts: dict[str, Any]) -> dict[str, str]:
    low, middle, high = (f"{value:.4g}" for value in facts["quantiles"])
    return {
        "signal": facts["signal"],
        "unit": facts["unit"],
        "1%": low,
        "50%": middle,
        "99%": high,
        "description": facts["description"],
    }


def _range(name: str, values: list[float]) -> dict[str, str]:
    return {"signal": name, "lowest": f"{min(values):.4g}", "highest": f"{max(values):.4g}"}
