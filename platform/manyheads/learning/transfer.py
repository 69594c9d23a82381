"""Before a head is trained on an old world: what the recorded rows earn, and which head it had best begin as."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from manyheads.errors import ManyheadsError, unknown
from manyheads.execution.eager import Execution
from manyheads.execution.trees import map_tensors
from manyheads.heads.contract import Head, HeadBatch
from manyheads.learning.labels import Labeller
from manyheads.learning.prediction import ReturnPredictor, ensemble_interval
from manyheads.learning.prefetch import BatchSampler
from manyheads.rewards.contract import LatentRewardSource
from manyheads.storage.agent import build_head, load_module
from manyheads.storage.evaluations import Interval
from manyheads.world.model import Latent, World

if TYPE_CHECKING:
    from manyheads.experience.replay import Replay
    from manyheads.learning.trainer import Trainer
    from manyheads.task import Task

EARNS = 0.05
"""share of the best recorded reward from which on a row counts as earning"""
STARTS = 16
"""episodes that are imagined of each head"""
FRESH = "fresh"


@dataclass(frozen=True)
class Earnings:
    """What recorded rows of a task's environment earn under its reward; rows that start an episode are left out."""

    rows: int
    earning: int
    """rows with more than a twentieth of the best reward; a cost is no earning"""
    best: float
    """the largest reward of a row"""

    @property
    def share(self) -> float:
        return self.earning / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class Candidate:
    """A head that a new one could begin as, and the return that is imagined of it under the new reward."""

    name: str
    predicted: Interval
    better_by: Interval
    """than the fresh head, from the same starts, as each member of the ensemble judges both"""


def earnings(replay: Replay, task: Task) -> Earnings | None:
    """Of all recorded episodes; None where the reward is computed from latents."""
    source = task.reward
    if isinstance(source, LatentRewardSource) and source.reads == "latents":
        return None
    rewards = [np.zeros(0)]
    for episode in replay.episodes(task.instance.dynamics_key):
        measured = source.signals <= {*episode.instance.signals}
        if measured and (not source.own_rows_only or episode.instance.key == task.instance.key):
            signals = episode.signals
            rewards.append(np.asarray(source.label({name: signals[name] for name in source.signals}).reward)[1:])
    earned = np.concatenate(rewards)
    best = float(earned.max(initial=0.0))
    return Earnings(len(earned), int((earned > EARNS * best).sum()) if best > 0 else 0, best)


def fit_predictor(trainer: Trainer, task: Task) -> ReturnPredictor:
    """An ensemble that knows the task's reward from the recorded rows; batches drawn later are those without it."""
    training, world = trainer.folder.settings.training, trainer.world
    draw = BatchSampler(
        trainer.replay,
        trainer.folder.interface,
        {task.name: Labeller(task, trainer.replay)},
        (training.batch_size, training.batch_length),
        frozen=True,
        shares=lambda: {task.instance.dynamics_key: 1.0},
    )

    def rows() -> HeadBatch:
        work = map_tensors(lambda x: x.to(world.device), draw()[0])
        own, batch, latents = work.labels[task.name], work.batch, work.latents
        assert latents is not None  # a frozen world's batches have them
        flags = batch.is_first, batch.is_last, own.is_terminal
        return HeadBatch(latents, batch.action, own.reward, *flags, own.mask, memory=own.memory)

    with undisturbed(trainer.replay):
        return ReturnPredictor(world, task, trainer.folder.settings.seed).fit(rows)


def starts(trainer: Trainer, task: Task, count: int = STARTS) -> Latent:
    """Stored states (N, ...) of the newest episodes' first rows; raises ManyheadsError where there is none."""
    found = []
    for episode in reversed(trainer.replay.episodes(task.instance.dynamics_key)):
        deter, stoch, known = episode.latents
        if known[0]:
            found.append((torch.from_numpy(deter[0]), torch.from_numpy(stoch[0])))
        if len(found) == count:
            break
    if not found:
        raise ManyheadsError(
            f"No episode of {task.instance.dynamics_key} is recorded from its start, so none can be imagined. "
            f"`manyheads train {trainer.folder.path} {task.name}` collects some."
        )
    return Latent(*(torch.stack(part).to(trainer.world.device) for part in zip(*found, strict=True)))


def rank_starts(trainer: Trainer, task: Task, predictor: ReturnPredictor) -> list[Candidate]:
    """The fresh head and every trained head of this environment that the new one could begin as, the best first."""
    head, begin = trainer.heads[task.name], starts(trainer, task)
    heads = {FRESH: head} | {name: x for name, x in trained_heads(trainer, task) if head.can_start_from(x)}
    returns = {name: predictor.returns(each, begin, task.episode_steps) for name, each in heads.items()}
    found = [
        Candidate(name, ensemble_interval(own), ensemble_interval(own - returns[FRESH]))
        for name, own in returns.items()
    ]
    return sorted(found, key=lambda candidate: -candidate.predicted.mean)


def choose_start(candidates: list[Candidate]) -> str:
    """The best one where it is surely better than the fresh head; else the fresh one."""
    best = candidates[0]
    return best.name if best.better_by.low is not None and best.better_by.low > 0 else FRESH


def start_from(trainer: Trainer, task: Task, name: str) -> None:
    """Lets the task's head begin as another; raises ManyheadsError where it can't."""
    if name == FRESH:
        return
    heads = dict(trained_heads(trainer, task, any_environment=True))
    if name not in heads:
        raise unknown(f"trained head in {trainer.folder.path}", name, heads)
    head = trainer.heads[task.name]
    if not head.can_start_from(heads[name]):
        raise ManyheadsError(
            f"{task.name} can't begin as {name}: they differ in kind, environment or size. "
            "`--start auto` chooses among those that fit."
        )
    head.start_from(heads[name])


def trained_heads(trainer: Trainer, task: Task, any_environment: bool = False) -> Iterator[tuple[str, Head]]:
    """Other heads with weights in the folder, those of the task's environment alone unless `any_environment`."""
    folder = trainer.folder
    for name in folder.heads:
        if name == task.name or f"heads/{folder.task(name).slug}/weights" not in folder.checkpoint.names:
            continue
        other = folder.task(name)
        if any_environment or other.instance.dynamics_key == task.instance.dynamics_key:
            head = build_head(other, trainer.world, folder)
            load_module(head, folder, f"heads/{other.slug}/weights")
            yield name, head.requires_grad_(False)


@contextmanager
def uncompiled(world: World) -> Iterator[None]:
    """Work inside runs eagerly: it is done once, with its own shapes, and compiling it would take longer."""
    execution, world.execution = world.execution, Execution()
    try:
        yield
    finally:
        world.execution = execution


@contextmanager
def undisturbed(replay: Replay) -> Iterator[None]:
    """What is drawn inside changes nothing of what is drawn afterwards."""
    state = replay.state()
    try:
        yield
    finally:
        replay.restore(state)
