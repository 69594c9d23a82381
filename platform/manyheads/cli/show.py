"""`manyheads show`: what is in a world."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from manyheads.storage import atomic
from manyheads.storage.folder import WorldFolder

STALE = ", on an earlier state of it: fine-tune it again"


@click.command()
@click.argument("world", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of tables")
def show(world: Path, as_json: bool) -> None:
    """Say what WORLD is made for, what it has seen, and which heads it has."""
    content = describe(WorldFolder.open(world))
    if as_json:
        click.echo(json.dumps(content, indent=1))
        return
    console = Console()
    console.print(f"[bold]{world}[/]: size {content['size']}, {content['parameters']:,} parameters in the world model")
    console.print(
        f"{content['steps']:,} steps collected, {content['updates']:,} updates, {content['rows']:,} rows kept"
    )
    console.print(f"observes {content['observes']}; acts by {content['acts']}")
    view = Table(title="Heads")
    for heading in ("task", "trained", "mean return", "success", "goal"):
        view.add_column(heading)
    for head in content["heads"]:
        success = "" if head["success_rate"] is None else f"{head['success_rate']:.0%}"
        value = "" if head["mean_return"] is None else f"{head['mean_return']:.1f}"
        view.add_row(head["task"], head["trained"], value, success, head["goal"])
    console.print(view)


def describe(folder: WorldFolder) -> dict[str, Any]:
    """JSON-able facts about a world."""
    state, interface = folder.checkpoint.state, folder.interface
    with_replay = (folder.path / "replay").exists()
    rows = folder.replay(read_only=True).rows if with_replay else 0
    weights = folder.checkpoint.read("world") if "world" in folder.checkpoint.names else {}
    image = f"an image {interface.image}" if interface.image else ""
    vector = f"{len(interface.vector)} numbers" if interface.vector else ""
    continuous = f"{len(interface.continuous)} numbers" if interface.continuous else ""
    choices = ", ".join(f"a choice of {size}" for size in interface.blocks)
    return {
        "path": str(folder.path),
        "size": folder.settings.world.size,
        "parameters": sum(tensor.numel() for tensor in weights.values()),
        "steps": state.get("steps", 0),
        "updates": state.get("updates", 0),
        "rows": rows,
        "observes": " and ".join(filter(None, [image, vector])),
        "acts": " and ".join(filter(None, [continuous, choices])),
        "instances": [{"environment": each.environment, "options": each.options} for each in folder.instances],
        "heads": [_head(folder, name) for name in folder.heads],
    }


def _head(folder: WorldFolder, name: str) -> dict[str, Any]:
    path = folder.path / "evaluations.json"
    records = atomic.read_json(path) if path.exists() else []
    played = next((each for each in records if each["task"] == name and each["policy"] == "head"), None)
    state = folder.checkpoint.state
    record = state["heads"][name]
    stale = record["world_updates"] != state.get("updates", 0)
    return {
        "task": name,
        "trained": ("jointly" if record["run"] == "train" else "on the frozen world") + (STALE if stale else ""),
        "mean_return": played["returns"]["mean"] if played else None,
        "success_rate": played["success_rate"] if played else None,
        "goal": folder.task(name).goal,
    }
