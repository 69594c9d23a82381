"""Holds a specification against recorded rows: measured ranges (level L3), and what the rows earn (level L4)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from manyheads.environment.contract import Signal
from manyheads.rewards import meaning, ranges
from manyheads.rewards.coverage import STRETCH, Coverage, coverage, term_values
from manyheads.rewards.finding import Finding
from manyheads.rewards.nodes import walk
from manyheads.rewards.sources import SpecSource
from manyheads.rewards.spec import RewardSpec, Term, Tolerance, control_names, width

Columns = Mapping[str, NDArray[np.float64]]
ENOUGH_ROWS = 4096
FLAT = 1e-3
"""standard deviation below which a reward is flat"""
SPARSE = 0.01
"""share of rows that earn anything, below which a reward is sparse"""
GRADIENT = 0.05
"""share of rows at which the reward should change with some signal"""
STARTS = 64
"""episode starts from which standing still is tried"""


def check_evidence(
    spec: RewardSpec,
    signals: Sequence[Signal],
    columns: Columns,
    is_first: NDArray[np.bool_],
    step_seconds: float | None = None,
) -> list[Finding]:
    """All that recorded rows (T,) say against a specification that fits its environment (levels L3 and L4)."""
    catalogue = {signal.name: signal for signal in signals}
    read = sorted(spec.signals)
    if broken := [name for name in read if not np.isfinite(columns[name]).all()]:
        return [Finding("L4_NOT_FINITE", "error", "", f"{', '.join(broken)} was recorded as not finite.")]
    findings = list(_measured(spec, catalogue, columns))
    if (rows := int((~is_first).sum())) < ENOUGH_ROWS:
        message = f"Only {rows} rows are recorded; {ENOUGH_ROWS} say more."
        findings.append(Finding("L4_ROWS", "warning", "", message))
    found = coverage(spec, columns, is_first, step_seconds)
    findings += _spread(found)
    findings += _terms(spec, columns, is_first, step_seconds)
    source = SpecSource(spec, control_names(columns), step_seconds)
    findings += _gradient(source, columns, is_first)
    findings += _still(source, columns, is_first, found)
    return findings


def _measured(spec: RewardSpec, catalogue: ranges.Catalogue, columns: Columns) -> Iterator[Finding]:
    """Reach and margins within what was measured."""
    measured = {
        name: replace(signal, low=float(columns[name].min()), high=float(columns[name].max()), soft=False)
        for name, signal in catalogue.items()
        if name in columns
    }
    known = {(finding.code, finding.path) for finding in meaning.reach(spec, catalogue)}
    for finding in meaning.reach(spec, measured):
        if (finding.code, finding.path) not in known:
            code = finding.code.replace("L2_", "L3_")
            yield Finding(code, "warning", finding.path, f"Within what was measured: {finding.message}")
    for path, node in walk(spec):
        if isinstance(node, Term) and isinstance(node.to, Tolerance) and node.to.margin > 0 and node.x is not None:
            low, high = ranges.of_expression(node.x, measured)
            spread = high - low
            if math.isfinite(spread) and spread > 0 and not spread / 200 <= node.to.margin <= 20 * spread:
                message = f"The margin {node.to.margin:g} is out of proportion: [{low:.4g}, {high:.4g}] was measured."
                yield Finding("L3_MARGIN", "warning", path, message)


def _spread(found: Coverage) -> Iterator[Finding]:
    """Whether what is earned tells rows apart."""
    if found.total.std < FLAT:
        message = f"All rows earn about the same: {found.total.mean:.3g} on average, deviation {found.total.std:.2g}."
        yield Finding("L4_FLAT", "warning", "", message)
    for path, spread in found.terms.items():
        if spread.std < FLAT:
            yield Finding("L4_FLAT_TERM", "warning", path, f"This term is about {spread.mean:.3g} in all rows.")
    if found.total.quantiles[1] > 0.99:
        yield Finding("L4_SATURATED", "warning", "", "Nine rows in ten earn more than 0.99 already.")
    if found.some < SPARSE:
        yield Finding("L4_SPARSE", "warning", "", f"{found.some:.2%} of the rows earn more than 0.05.")


def _terms(
    spec: RewardSpec, columns: Columns, is_first: NDArray[np.bool_], step_seconds: float | None
) -> Iterator[Finding]:
    """Terms that say the same."""
    one = {name: column[:, None] for name, column in columns.items()}
    values = {path: value[:, 0] for path, value in term_values(spec, one, is_first[:, None], step_seconds)}
    varied = {path: value for path, value in values.items() if value.std() >= FLAT}
    for (path, a), (other, b) in combinations(varied.items(), 2):
        if np.corrcoef(a, b)[0, 1] > 0.999 and path.split("reward")[0] == other.split("reward")[0]:
            yield Finding("L4_DUPLICATE_TERM", "warning", other, f"This term goes exactly as {path} does.")


def _gradient(source: SpecSource, columns: Columns, is_first: NDArray[np.bool_]) -> Iterator[Finding]:
    """Rows where no signal changes the reward a little, and stages that no row is in."""
    tensors = {name: torch.tensor(columns[name], requires_grad=True) for name in source.signals}
    steps = source.unroll(tensors, torch.from_numpy(is_first))
    moves = ~is_first
    changes = np.zeros(len(is_first), bool)
    if steps.reward.requires_grad:
        steps.reward.sum().backward()
        for tensor in tensors.values():
            if tensor.grad is not None:
                changes |= tensor.grad.abs().nan_to_num().numpy() > 1e-9
    share = float(changes[moves].mean())
    if share < GRADIENT:
        message = f"The reward changes with a small change of some signal at only {share:.1%} of the rows."
        yield Finding("L4_NO_GRADIENT", "warning", "", message)
    stages = source.spec.stages or []
    if len(stages) > 1:
        at = sum(map(width, source.spec.memory_nodes))
        reached = steps.memory[:, at : at + len(stages)].detach().sum(0)
        for i, rows in enumerate(reached.tolist()):
            if not rows:
                yield Finding("L4_STAGE", "warning", f"stages[{i}]", "No recorded row has come to this stage.")


def _still(source: SpecSource, columns: Columns, is_first: NDArray[np.bool_], found: Coverage) -> Iterator[Finding]:
    """Whether staying where episodes start, without control, earns what the best stretch does."""
    starts = np.flatnonzero(is_first)[:STARTS]
    controls = control_names(columns)
    rows = {
        name: np.zeros((STRETCH + 1, len(starts))) if name in controls else np.tile(column[starts], (STRETCH + 1, 1))
        for name, column in columns.items()
    }
    earned = float(source.label(rows).reward[1:].mean())
    if earned > 0.05 and earned >= 0.95 * found.best_stretch:
        best = f"{found.best_stretch:.2f} in the best 50 steps"
        message = f"Standing still at the start earns {earned:.2f} a step; what was recorded earns {best}."
        yield Finding("L4_STILL", "warning", "", message)
