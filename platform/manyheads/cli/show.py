"""`manyheads show`: what is in a world."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table

from manyheads.cli.console import stdout_for_results
from manyheads.cli.console import text as foreign
from manyheads.cli.options import WorldPath
from manyheads.environment.contract import Instance
from manyheads.errors import ManyheadsError
from manyheads.report.text import number
from manyheads.storage.evaluations import Evaluation, read
from manyheads.storage.head_folders import foreign_words
from manyheads.storage.world_folder import WorldFolder

STALE = ", on an earlier state of the world: fine-tune it again"


@click.command()
@click.argument("world", type=WorldPath())
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of text")
def show(world: Path, as_json: bool) -> None:
    """Say what WORLD is made for, what it has seen, and which heads it has.

    Environments that can't be made here are named with what they lack; all else is shown.
    """
    with stdout_for_results():
        content = describe(WorldFolder.open(world))
    if as_json:
        click.echo(json.dumps(content, indent=1))
        return
    console = Console(highlight=False)
    _say(console, f"{world}: size {content['size']}, {content['parameters']:,} parameters in the world model")
    _say(
        console, f"{content['steps']:,} steps collected, {content['updates']:,} updates, {content['rows']:,} rows kept"
    )
    _say(console, f"observes {content['observes']}; acts by {content['acts']}")
    if content["foreign"]:
        _say(console, content["foreign"], "red")
    for change in content["history"]:
        changed = ", ".join(f"{name} {old} to {new}" for name, (old, new) in change["changes"].items())
        _say(console, f"settings changed at {change['steps']:,} steps: {changed}")
    for problem in _others(content):
        _say(console, f"can't be played here: {problem}", "red")
    for each in content["readouts"]:
        _say(console, "\n".join(_readout(each)))
    for head in content["heads"]:
        console.print()
        _say(console, head["task"], "bold")
        facts = Table.grid("", Column(overflow="fold"), padding=(0, 2))
        for label, text in _facts(head, world).items():
            facts.add_row(label, foreign(text))
        console.print(Padding(facts, (0, 0, 0, 2)))


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(foreign(text, style), soft_wrap=True)


def _facts(head: Mapping[str, Any], world: Path) -> dict[str, str]:
    """What is known of a head, by label."""
    played = f"not yet (`manyheads evaluate {world}`)"
    if head["mean_return"] is not None:
        success = "" if head["success_rate"] is None else f", success {head['success_rate']:.0%}"
        played = f"mean return {number(head['mean_return'])}{success}"
    facts = {"goal": head["goal"], "trained": head["trained"], "played": played}
    if (best := head["best"]) is not None:
        facts["best"] = (
            f"{number(best['mean_return'])} at {best['steps']:,} steps (`manyheads evaluate {world} --best`)"
        )
    facts["problem"] = head["problem"]
    return {label: text for label, text in facts.items() if text}


def _readout(readout: Mapping[str, Any]) -> list[str]:
    """How well signals can be predicted from the world's state, the worst ones by name, a line each."""
    errors = readout["error"]
    worst = sorted(errors, key=errors.get, reverse=True)[:3]
    environment = readout["instance"].split(" ", 1)[0]
    heading = f"predicts {len(errors)} signals of {environment}; explained variance of the worst:"
    return [heading, *(f"  {name} {1 - errors[name]:.1%}" for name in worst)]


def _others(content: Mapping[str, Any]) -> list[str]:
    """Problems of environments that no head has."""
    said = {head["problem"] for head in content["heads"]}
    return [one["problem"] for one in content["instances"] if one["problem"] and one["problem"] not in said]


def describe(folder: WorldFolder) -> dict[str, Any]:
    """JSON-able facts about a world."""
    state, interface = folder.checkpoint.state, folder.interface
    with_replay = (folder.path / "replay").exists()
    rows = folder.replay(read_only=True).rows if with_replay else 0
    weights = folder.checkpoint.read("world") if "world" in folder.checkpoint.names else {}
    image = f"an image {interface.image}" if interface.image else ""
    vector = _numbers(len(interface.vector))
    continuous = _numbers(len(interface.continuous))
    choices = ", ".join(f"a choice of {size}" for size in interface.blocks)
    problems, evaluations = Problems(), read(folder.path)
    return {
        "path": str(folder.path),
        "size": folder.settings.world.size,
        "parameters": sum(tensor.numel() for tensor in weights.values()),
        "steps": state.get("steps", 0),
        "updates": state.get("updates", 0),
        "rows": rows,
        "observes": " and ".join(filter(None, [image, vector])),
        "acts": " and ".join(filter(None, [continuous, choices])),
        "instances": [
            {"environment": each.environment, "options": each.options, "problem": problems.of(each.instance)}
            for each in folder.instances
        ],
        "readouts": [{"instance": key, "error": known["error"]} for key, known in state.get("readouts", {}).items()],
        "history": [change.model_dump(mode="json") for change in folder.history],
        "foreign": foreign_words(folder),
        "heads": [_head(folder, name, evaluations, problems) for name in folder.heads],
    }


class Problems:
    """Why environments can't be made here, each tried once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, find: Callable[[], Instance]) -> str:
        """What is wrong with the instance that `find` looks up, or with looking it up; empty where it can be made."""
        try:
            instance = find()
            if instance.key not in self._known:
                self._known[instance.key] = self._made(instance)
            return self._known[instance.key]
        except ManyheadsError as error:
            return str(error)

    def _made(self, instance: Instance) -> str:
        try:
            instance.make().close()
        except ManyheadsError as error:
            return str(error)
        except Exception as error:  # whatever a plugin raises, the rest is shown
            return f"{instance.environment.name} can't be made here: {type(error).__name__}: {error}"
        return ""


def _head(folder: WorldFolder, name: str, evaluations: Sequence[Evaluation], problems: Problems) -> dict[str, Any]:
    try:
        goal, problem = folder.goal(name), problems.of(lambda: folder.task(name).instance)
    except ManyheadsError as error:
        goal, problem = "", str(error)
    played = next((each for each in evaluations if each.task == name and each.policy == "head"), None)
    state = folder.checkpoint.state
    record = state["heads"][name]
    stale = folder.is_stale(name)
    return {
        "task": name,
        "trained": ("jointly" if record["run"] == "train" else "on the frozen world") + (STALE if stale else ""),
        "mean_return": played.returns.mean if played else None,
        "success_rate": played.success_rate if played else None,
        "best": state.get("best", {}).get(name),
        "goal": goal,
        "problem": problem,
    }


def _numbers(count: int) -> str:
    return "" if not count else f"{count} number{'s' if count > 1 else ''}"
