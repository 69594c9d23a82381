"""Heads after further training of their world: played again, drops told, and trained in imagination until back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from manyheads.api.run import RunOptions
from manyheads.api.scoring import CHECKED_STEPS
from manyheads.learning.evaluate import play
from manyheads.learning.forgetting import Drop, drop
from manyheads.learning.run_records import group_by_progress
from manyheads.learning.trainer import Trainer
from manyheads.storage import ledger
from manyheads.storage.agent import load
from manyheads.storage.world_folder import WorldFolder

EPISODES = 5
ROUNDS = 4
UPDATES = 500
"""in imagination, in each round"""


def dropped(path: Path, names: Sequence[str], options: RunOptions) -> list[Drop]:
    """Plays heads of a world, writes their scores into its ledger, and returns those that surely do worse than at an
    earlier state of the world model. Heads whose episodes are too long for a check are left out."""
    loaded = load(path)
    agents = [loaded.head(name) for name in names]
    short = [agent for agent in agents if agent.task.episode_steps * EPISODES <= CHECKED_STEPS]
    found = []
    with options.progress(len(short) * EPISODES, "playing heads again", "episodes") as progress:
        for agent in short:
            played = play(agent.task, EPISODES, agent.world, agent.head)
            progress.advance(EPISODES)
            ledger.record(loaded.folder, {agent.task.name: [episode.return_task for episode in played]})
            found.append(drop(ledger.scores_of(ledger.read(path), agent.task.name)))
    return [each for each in found if each is not None]


def after_training(path: Path, options: RunOptions, keep_heads: bool) -> list[Drop]:
    """Plays every head whose score at an earlier state of the world is known; tells of those that lost, and with
    `keep_heads` trains them in imagination until they are back. Returns those that are not."""
    folder = WorldFolder.open(path)
    updates = int(folder.checkpoint.state.get("updates", 0))
    known = {score.task for score in ledger.read(path) if score.world_updates < updates}
    names = [name for name in folder.heads if name in known]
    lost = dropped(path, names, options) if names else []
    for each in lost:
        options.say(str(each))
    if lost and not keep_heads:
        named = " ".join(each.task for each in lost)
        options.say(f"`manyheads finetune {path} {named}` trains them on the world as it is now.")
    for _ in range(ROUNDS if keep_heads else 0):
        if not lost:
            break
        retrain(path, [each.task for each in lost], options)
        before, lost = lost, dropped(path, [each.task for each in lost], options)
        for name in sorted({each.task for each in before} - {each.task for each in lost}):
            options.say(f"{name} is back.")
    if keep_heads:
        for each in lost:
            options.say(f"{each.task} is not back after {ROUNDS * UPDATES:,} updates in imagination. {each}")
    return lost


def retrain(path: Path, names: Sequence[str], options: RunOptions) -> None:
    """Trains heads in imagination on the world as it is, those of one environment as one batch."""
    folder = WorldFolder.open(path)
    for group in group_by_progress(folder, [folder.task(name) for name in names]):
        with closing(Trainer(folder, group, frozen=True)) as trainer:
            until = trainer.updates + UPDATES
            title = ", ".join(task.name for task in group)
            bar = options.progress(until, f"keeping {title}", "updates", trainer.updates)
            with options.metrics(folder, group, options.openers()) as metrics, bar as progress:
                trainer.imagine(until, progress, metrics)
