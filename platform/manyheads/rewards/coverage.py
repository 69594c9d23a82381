"""What recorded experience earns under a specification: how much of it, and what each term adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyheads.errors import ManyheadsError
from manyheads.rewards.nodes import walk
from manyheads.rewards.sources import SpecSource
from manyheads.rewards.spec import RewardSpec, Term, width

STRETCH = 50
QUANTILES = 10
Column = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Statistics of numbers in [0, 1]; `quantiles` are ten, from the lowest to the highest."""

    mean: float
    std: float
    low: float
    high: float
    quantiles: tuple[float, ...]


@dataclass(frozen=True)
class Coverage:
    """What `rows` of experience earn; start rows, which earn nothing by definition, are left out."""

    rows: int
    some: float
    """share of the rows that earn more than 0.05"""
    much: float
    """share of the rows that earn more than 0.5"""
    total: Spread
    terms: dict[str, Spread]
    """by the term's path, `reward.of[0]`, floors included"""
    best_stretch: float
    """mean reward of the best 50 rows in a row inside one episode (of a whole shorter episode)"""
    successes: int | None
    """episodes that succeed; None where the specification has no success predicate"""
    episodes: int


def coverage(
    spec: RewardSpec, signals: Mapping[str, Any], is_first: Any = None, step_seconds: float | None = None
) -> Coverage:
    """Statistics over rows (T,) or (T, B); time runs along axis 0, `is_first` marks where episodes start.

    Columns that begin inside an episode count as starting one. Raises ManyheadsError where no row can earn.
    """
    source = SpecSource(spec, step_seconds=step_seconds)
    columns = {name: _two_dimensional(column) for name, column in signals.items()}
    shape = next(iter(columns.values())).shape
    starts = np.zeros(shape, bool) if is_first is None else _two_dimensional(is_first).astype(bool)
    starts[:1] = True
    rewards = source.label(columns, starts).reward
    earning = ~starts
    if not earning.any():
        raise ManyheadsError("There is no experience to judge the specification on: no row follows a start.")
    episodes = list(_episodes(starts))
    succeeded = source.success(columns, starts) if spec.success is not None else None
    earned = rewards[earning]
    return Coverage(
        rows=int(earning.sum()),
        some=float((earned > 0.05).mean()),
        much=float((earned > 0.5).mean()),
        total=_spread(earned),
        terms={path: _spread(column[earning]) for path, column in term_values(spec, columns, starts, step_seconds)},
        best_stretch=max(_best_stretch(rewards[rows][1:]) for rows in episodes),
        successes=None if succeeded is None else sum(bool(succeeded[rows].any()) for rows in episodes),
        episodes=len(episodes),
    )


def _two_dimensional(column: Any) -> NDArray[Any]:
    array = np.asarray(column)
    return array.reshape(len(array), -1).copy()


def term_values(
    spec: RewardSpec, columns: Mapping[str, Column], is_first: NDArray[np.bool_], step_seconds: float | None = None
) -> Iterator[tuple[str, Column]]:
    """Each term's value along the rows (T, B), floors included, by its path."""
    import torch

    from manyheads.rewards import compile as rows
    from manyheads.rewards.memory import Run, remember
    from manyheads.rewards.sources import restarts

    known = {name: torch.as_tensor(columns[name]) for name in spec.signals}
    starts = torch.as_tensor(is_first)
    run = Run(starts, restarts(starts, True), step_seconds)
    for remembering in spec.memory_nodes:
        remember(remembering, known, run, torch.zeros(starts.shape[1], width(remembering)))
    for at, total in spec.totals:
        for path, node in walk(total, at):
            if isinstance(node, Term):
                yield path, rows.total(node, known).expand(starts.shape).numpy()


def _episodes(starts: NDArray[np.bool_]) -> Iterator[tuple[slice, int]]:
    """The rows of each episode, as an index into (T, B)."""
    length, width = starts.shape
    for column in range(width):
        edges = [*np.flatnonzero(starts[:, column]).tolist(), length]
        for begin, end in pairwise(edges):
            yield slice(begin, end), column


def _best_stretch(rewards: Column) -> float:
    if len(rewards) == 0:
        return 0.0
    sums = np.concatenate([[0.0], np.cumsum(rewards, dtype=np.float64)])
    width = min(STRETCH, len(rewards))
    return float((sums[width:] - sums[:-width]).max() / width)


def _spread(values: Column) -> Spread:
    quantiles = np.quantile(values, np.linspace(0, 1, QUANTILES)).tolist()
    return Spread(float(values.mean()), float(values.std()), quantiles[0], quantiles[-1], tuple(quantiles))
