"""`manyheads list`: what there is, by name."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from manyheads.cli import console
from manyheads.kinds import Kind
from manyheads.registry import Registry, registry
from manyheads.suites import read_suite

Row = Mapping[str, Any]


def environments(known: Registry) -> Iterable[Row]:
    for name, environment in known.environments.items():
        yield {
            "name": name,
            "options": sorted(environment.options.model_fields),
            "needs": environment.missing(),
            "description": environment.description,
        }


def tasks(known: Registry) -> Iterable[Row]:
    from manyheads.task import tasks as all_tasks

    for task in all_tasks():
        reward = task.content.reward.source
        yield {"name": task.name, "environment": task.environment, "reward": reward, "goal": task.goal}


def heads(known: Registry) -> Iterable[Row]:
    for name, kind in known.heads.items():
        yield {"name": name, "description": kind.description}


def rewards(known: Registry) -> Iterable[Row]:
    for name, kind in known.rewards.items():
        settings = sorted(kind.settings.model_fields)
        yield {"name": name, "settings": settings, "description": kind.description}


def models(known: Registry) -> Iterable[Row]:
    for name, kind in known.models.items():
        yield {"name": name, "needs": kind.missing(), "description": kind.description}


def runners(known: Registry) -> Iterable[Row]:
    return _kinds(known.runners)


def suites(known: Registry) -> Iterable[Row]:
    for name, path in known.suites.items():
        suite = read_suite(name, path)
        yield {"name": name, "tasks": len(suite.scores), "preset": suite.preset, "description": suite.description}


def loggers(known: Registry) -> Iterable[Row]:
    return _kinds(known.loggers)


def plugins(known: Registry) -> Iterable[Row]:
    tables = known.load_all()
    counts = {kind: Counter(table.owners.values()) for kind, table in tables.items()}
    for name, plugin in known.plugins.items():
        yield {
            "name": name,
            "package": plugin.package,
            "state": "left out" if plugin.disabled else "failed" if plugin.problems else "loaded",
            "offers": [f"{kind}: {counts[kind][name]}" for kind in tables if counts[kind][name]],
            "problems": plugin.problems,
        }


def _kinds(table: Mapping[str, Kind]) -> Iterable[Row]:
    for name, kind in table.items():
        options = sorted(kind.settings.model_fields)
        yield {"name": name, "options": options, "needs": kind.missing(), "description": kind.description}


LISTINGS: Mapping[str, Callable[[Registry], Iterable[Row]]] = {
    listing.__name__: listing
    for listing in (environments, tasks, heads, rewards, models, runners, suites, loggers, plugins)
}


@click.command()
@click.argument("what", type=click.Choice([*LISTINGS]))
@click.option("--json", "as_json", is_flag=True, help="One JSON list of objects.")
def list(what: str, as_json: bool) -> None:
    """List what is registered, by name."""
    rows = [*LISTINGS[what](registry())]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif rows:
        console.table(rows)
    else:
        click.echo(f"There are no {what}.")
