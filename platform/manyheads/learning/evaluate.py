"""Plays policies in the real simulator on reserved seeds and says how sure the difference to random is.

The protocol of published scores: sampled actions, the simulator's unclipped return; next to it the task's own return
and its success rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from manyheads.environment.adapter import FlatEnv, LayoutMap, Observation
from manyheads.heads.contract import Head
from manyheads.heads.policy import VectorPolicy, random_action
from manyheads.rewards.sources import episode_succeeded
from manyheads.storage.evaluations import RESERVED_SEEDS, EpisodeResult, Interval
from manyheads.task import Task
from manyheads.world.model import World

Floats = npt.NDArray[np.float64]


def bootstrap(values: Sequence[float] | Floats, seed: int = 0, resamples: int = 10_000) -> Interval:
    """Percentile bootstrap 95% interval of the mean; of one value there is none."""
    sample = np.asarray(values, dtype=np.float64)
    if sample.size < 2:
        return Interval(float(sample.mean()), None, None)
    generator = np.random.default_rng(seed)
    means = generator.choice(sample, (resamples, sample.size)).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(sample.mean()), float(low), float(high))


def bootstrap_difference(ours: Sequence[float], theirs: Sequence[float], resamples: int = 10_000) -> Interval:
    """Bootstrap 95% interval of the difference of means of two independent samples."""
    generator = np.random.default_rng(0)
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if min(a.size, b.size) < 2:
        return Interval(float(a.mean() - b.mean()), None, None)
    means = generator.choice(a, (resamples, a.size)).mean(axis=1) - generator.choice(b, (resamples, b.size)).mean(
        axis=1
    )
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(a.mean() - b.mean()), float(low), float(high))


@dataclass
class _Slot:
    """One episode while it is played; `signals` holds a row a step."""

    simulator: FlatEnv
    seed: int
    signals: list[npt.NDArray[np.float64]]
    over: bool = False


def play(
    task: Task,
    episodes: int,
    world: World | None = None,
    head: Head | None = None,
    *,
    first_seed: int = RESERVED_SEEDS,
) -> list[EpisodeResult]:
    """Plays `episodes` episodes of `head` on `world` in lock-step on reserved seeds; without them, random actions."""
    seeds = range(first_seed, first_seed + episodes)
    slots = [_Slot(FlatEnv(task.make_simulator(), task.instance.signals), seed, []) for seed in seeds]
    try:
        if world is not None and head is not None:
            _play_head(task, slots, world, head)
        else:
            _play_random(slots)
    finally:
        for slot in slots:
            slot.simulator.close()
    return [_result(task, slot) for slot in slots]


def _play_head(task: Task, slots: list[_Slot], world: World, head: Head) -> None:
    fitting = LayoutMap(world.interface, slots[0].simulator.layout)
    names, layouts = [task.name] * len(slots), [slot.simulator.layout for slot in slots]
    policies = VectorPolicy(world, {task.name: head}, names, layouts, slots[0].seed, capture=False)
    rows = [slot.simulator.reset(slot.seed) for slot in slots]
    is_first = np.ones(len(slots), dtype=bool)
    while True:
        for slot, row in zip(slots, rows, strict=True):
            if not slot.over:
                slot.signals.append(row.signals)
        image = None
        if world.interface.image is not None:
            image = np.stack([np.asarray(fitting.map_image(row.image)) for row in rows])
        vector, signals = (np.stack([getattr(row, name) for row in rows]) for name in ("vector", "signals"))
        action = policies.act(image, fitting.map_vector(vector), is_first, signals).action
        is_first = np.zeros(len(slots), dtype=bool)
        for index, slot in enumerate(slots):
            if not slot.over:
                rows[index], slot.over = _step(slot, fitting.unmap_action(action[index]))
        if all(slot.over for slot in slots):
            return


def _play_random(slots: list[_Slot]) -> None:
    for slot in slots:
        generator = torch.Generator().manual_seed(slot.seed)
        slot.signals.append(slot.simulator.reset(slot.seed).signals)
        while not slot.over:
            row, slot.over = _step(slot, random_action(slot.simulator.layout, 1, generator)[0].numpy())
            if not slot.over:
                slot.signals.append(row.signals)


def _step(slot: _Slot, action: npt.NDArray[np.float32]) -> tuple[Observation, bool]:
    row, is_last, _ = slot.simulator.step(action)
    if is_last:
        slot.signals.append(row.signals)
    return row, is_last


def _result(task: Task, slot: _Slot) -> EpisodeResult:
    """Scores one episode; where the task itself ends, so does its scoring."""
    table = np.stack(slot.signals)
    columns = {name: table[:, index] for index, name in enumerate(slot.simulator.signals)}
    labels = task.reward.label({name: columns[name] for name in task.reward.signals})
    ended = np.flatnonzero(labels.terminated)
    stop = int(ended[0]) + 1 if ended.size else len(table)
    success = None
    if task.success is not None:
        rows = {name: column[:stop] for name, column in columns.items()}
        success = episode_succeeded(task.success, rows, task.instance.step_seconds)
    return EpisodeResult(
        seed=slot.seed,
        return_simulator=float(columns["reward"][:stop].sum()),
        return_task=float(np.sum(labels.reward[:stop], dtype=np.float64)),
        success=success,
        length=stop - 1,
    )


def success_rate(results: Sequence[EpisodeResult]) -> float | None:
    """Share of episodes whose success predicate held; None where the task has none."""
    known = [result.success for result in results if result.success is not None]
    return sum(known) / len(known) if known else None
