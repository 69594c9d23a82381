"""Worlds on disk, trained for seconds through the command line, for tests of what is done with a world."""

from pathlib import Path

from click.testing import CliRunner

from manyheads.cli import manyheads

TINY = (
    "world.deter=16", "world.hidden=8", "world.units=8", "training.batch_size=2", "training.batch_length=8",
    "training.num_envs=2", "training.train_ratio=2", "training.compile=false", "heads.actor_critic.horizon=2",
)  # fmt: skip


def command(*arguments: object) -> str:
    """Runs `manyheads …` in this process and returns what it printed; its errors are raised."""
    result = CliRunner().invoke(manyheads, [*map(str, arguments)], env={"COLUMNS": "80"}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def train(world: Path, *tasks: object, steps: int = 60, settings: tuple[str, ...] = ()) -> Path:
    """A small world with a head for each task."""
    given = [f"--set={each}" for each in (*TINY, *settings)]
    command("train", world, *tasks, "--settings", "demo", *given, "--steps", steps)
    return world
