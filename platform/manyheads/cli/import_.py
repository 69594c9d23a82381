"""`manyheads import`: recorded episodes of another library into a world's replay."""

from __future__ import annotations

from pathlib import Path

import click

from manyheads.errors import ManyheadsError
from manyheads.exchange.minari_files import open_dataset
from manyheads.exchange.minari_import import Importer, source_of
from manyheads.filenames import file_name
from manyheads.report.progress import Progress
from manyheads.settings import load_settings
from manyheads.storage.growth import grow, records
from manyheads.storage.world_folder import WORLD, WorldFolder
from manyheads.task import TaskFile
from manyheads.yamlfile import read_setting


@click.command(name="import")
@click.argument("world", type=click.Path(path_type=Path))
@click.argument("source", metavar="minari:FOLDER|minari:ID")
@click.option("--environment", metavar="NAME", help="which environment it was recorded in; default: as it says")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="an option of that environment")
@click.option("--settings", "preset", help="a packaged preset's name or a YAML file; only for a new world")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="one setting; only for a new world")
def import_(
    world: Path,
    source: str,
    environment: str | None,
    options: tuple[str, ...],
    preset: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Add the episodes of a Minari data set to what WORLD has recorded; a new WORLD is made for it.

    Signals are those that the data set holds; else the environment measures them as the recorded actions are taken
    again; without an environment, each observed number is a signal.
    """
    dataset = open_dataset(source)
    found = source_of(dataset, environment, dict(read_setting(text, "action_repeat=2") for text in options))
    content = TaskFile.model_validate(
        {
            "version": 1,
            "environment": found.instance.environment.name,
            "options": found.instance.options.model_dump(mode="json"),
            "reward": {"source": "environment"},
            "episode_steps": max(max((len(episode) for episode in dataset), default=1), 1),
            "goal": f"Earn the reward that the data set {dataset.id} recorded."[:500],
        }
    )
    name = file_name(dataset.id)
    task = content.resolve(name)
    if (world / WORLD).exists():
        if preset is not None or overrides:
            raise ManyheadsError(f"{world} has its settings already; leave out --settings and --set.")
        folder = grow(WorldFolder.open(world), [task])
    else:
        folder = WorldFolder.create(world, load_settings(preset, overrides), records([task]))
    replay = folder.replay()
    try:
        steps = int(dataset.total_steps) + len(dataset)
        with Progress(steps, f"importing {dataset.id}", unit="rows") as progress:
            rows = Importer(dataset, found, replay).run(lambda number: progress.advance(number))
        replay.flush()
    finally:
        replay.close()
    file = content.write(folder.path / "goals" / f"{name}.yaml")
    how = {"recorded": "as recorded", "replayed": "measured again", "observed": "the observed numbers"}[found.signals]
    click.echo(f"{world} has {rows:,} more rows of {found.instance.environment.name}; signals: {how}.")
    click.echo(f"`manyheads train {world} {file} --updates 5000` trains on them without collecting more.")
