"""What every reward source keeps to, played on made-up rows; see `manyheads.testing.check_reward_source`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from manyheads.environment.contract import Signal
from manyheads.rewards.contract import RewardSource

ROWS = (12, 5)
WIDE = 10.0
"""Unbounded signals are drawn from within this distance of 0 or of their one bound."""


def check_reward_source(source: RewardSource, signals: Sequence[Signal], seed: int) -> None:
    """Checks a source on rows within the signals' ranges."""
    assert isinstance(source, RewardSource), f"{source!r} lacks a part of RewardSource"
    assert source.reads == "signals", "sources read signals alone"
    absent = sorted(source.signals - {signal.name for signal in signals})
    assert not absent, f"it reads {', '.join(absent)}, which the instance does not measure"
    assert source.own_rows_only or "reward" not in source.signals, "own_rows_only must be true where it reads `reward`"
    generator = np.random.default_rng(seed)
    columns = {s.name: torch.as_tensor(_draw(s, generator)) for s in signals if s.name in source.signals}
    size = tuple(source.init(ROWS[1]).shape)
    assert size == (ROWS[1], source.memory_size), f"memory must be (n, {source.memory_size}); init gives {size}"
    _check_labels(source, columns)
    if not source.memory_size:
        _check_rows_alone(source, columns)
    _check_memory(source, columns)


def _draw(signal: Signal, generator: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    if signal.kind == "boolean":
        return generator.integers(0, 2, ROWS).astype(np.float64)
    low = signal.low if signal.low is not None else min(0.0, signal.high or 0.0) - WIDE
    high = signal.high if signal.high is not None else max(0.0, low) + WIDE
    values = generator.uniform(low, high, ROWS)
    return np.round(values) if signal.kind == "discrete" else values


def _check_labels(source: RewardSource, columns: dict[str, Tensor]) -> None:
    kept = {name: column.clone() for name, column in columns.items()}
    reward, terminated = source.label(columns)
    for what, value, kind in (("reward", reward, torch.float32), ("terminated", terminated, torch.bool)):
        got = f"{type(value).__name__} {getattr(value, 'dtype', '')} {tuple(getattr(value, 'shape', ()))}"
        right = isinstance(value, Tensor) and value.dtype == kind and value.shape == ROWS
        assert right, f"{what} must be a {kind} tensor of the signals' shape {ROWS}; it is {got}"
    assert reward.isfinite().all(), "a reward is not finite"
    assert not reward[0].any(), "without `is_first`, row 0 starts an episode and earns 0"
    assert not terminated[0].any(), "a task can't end on the row that starts an episode"
    assert all(column.equal(kept[name]) for name, column in columns.items()), "it writes into the signals it was given"
    assert source.label(columns).reward.equal(reward), "the same rows earn something else the second time"
    arrays = source.label({name: column.numpy().copy() for name, column in columns.items()})
    assert isinstance(arrays.reward, np.ndarray), "NumPy arrays must give NumPy arrays"
    assert np.array_equal(arrays.reward, reward.numpy()), "NumPy arrays and tensors earn different rewards"


def _check_memory(source: RewardSource, columns: dict[str, Tensor]) -> None:
    """Row by row, or from the middle of an episode with what was remembered there, labels are the same."""
    is_first = torch.zeros(ROWS, dtype=torch.bool)
    is_first[0] = is_first[3, 1] = is_first[7] = True
    whole, memory = source.unroll(columns, is_first), source.init(ROWS[1])
    size = (*ROWS, source.memory_size)
    assert whole.memory.shape == size, f"memory must be {size}; it is {tuple(whole.memory.shape)}"
    assert whole.memory.dtype == memory.dtype == torch.float32, "memory must be float32"
    labels = source.label(columns, is_first)
    assert whole.reward.equal(labels.reward), "`unroll` and `label` give different rewards"
    for t in range(ROWS[0]):
        step = source.step({name: column[t] for name, column in columns.items()}, memory, is_first[t])
        memory = step.memory
        for what, one, all_at_once in zip(step._fields, step, whole, strict=True):
            same = torch.allclose(one.float(), all_at_once[t].float(), atol=1e-6)
            assert same, f"{what} of row {t} differs between `step` and `unroll`"
    part = source.unroll({name: column[5:] for name, column in columns.items()}, is_first[5:], whole.memory[4])
    assert part.reward.allclose(whole.reward[5:]), "rewards differ where rows begin inside an episode, with its memory"


def _check_rows_alone(source: RewardSource, columns: dict[str, Tensor]) -> None:
    """Without memory a row's labels hang on that row alone: not on its neighbours, not on the layout."""
    nowhere = torch.zeros(ROWS, dtype=torch.bool)
    reward, terminated = source.label(columns, nowhere)
    some = (slice(4, 9), slice(1, 3))
    part = source.label({name: column[some].T.contiguous() for name, column in columns.items()}, nowhere[some].T)
    alone = "changes with the rows around it or with their layout"
    assert part.reward.T.allclose(reward[some]), f"a row's reward {alone}"
    assert part.terminated.T.equal(terminated[some]), f"a row's end {alone}"
    is_first = nowhere.clone()
    is_first[3] = is_first[7, 1] = True
    labels = source.label(columns, is_first)
    assert not labels.reward[is_first].any(), "rows marked `is_first` earn 0"
    assert not labels.terminated[is_first].any(), "a task can't end on a row marked `is_first`"
    assert labels.reward[~is_first].equal(reward[~is_first]), (
        "marking some rows `is_first` changes the reward of others"
    )
