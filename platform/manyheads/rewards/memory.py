"""What a specification remembers of an episode, computed along rows (T, N) that follow one another.

Memory is (N, M) float32 before the first of the rows and (T, N, M) after each. Its columns are those of the nodes, in
the order of `RewardSpec.memory_nodes`; then the stage, one-hot, and the steps in it; then the steps since the episode
began.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from manyheads.errors import ManyheadsError
from manyheads.rewards import compile as rows
from manyheads.rewards.nodes import HeldFor, MemoryNode, Rate, Success, Unary, Window, memory_nodes
from manyheads.rewards.spec import MAX_EPISODE, Gate, Penalty, RewardSpec, Stage, Terminate, width


class Run(NamedTuple):
    """Rows (T, N) of an episode, or of several, and where the memory of what came before ends."""

    is_first: Tensor
    """bool: the row starts an episode"""
    restart: Tensor
    """bool: nothing before the row is known"""
    step_seconds: float | None

    @property
    def number(self) -> Tensor:
        """(T, 1) 0, 1, …"""
        return torch.arange(len(self.restart), device=self.restart.device)[:, None]

    def since_restart(self, before: Tensor) -> Tensor:
        """How many rows each row has before it since the newest restart; `before` (N,) before row 0."""
        start = torch.where(self.restart, self.number, -1).cummax(0).values
        return torch.where(start >= 0, self.number - start, before + self.number)


class Outcome(NamedTuple):
    """What rows (T, N) earn, float64 in [0, 1]; where the task ends; what is remembered after each."""

    reward: Tensor
    terminated: Tensor
    memory: Tensor


def unroll(spec: RewardSpec, signals: rows.Signals, run: Run, memory: Tensor) -> Outcome:
    """Rewards, ends and memory (T, N, M) along rows; `memory` (N, M) is that before row 0.

    A reading that is not finite makes the reward not-a-number: it must stop a run, not pass as a zero.
    """
    known, columns, at = dict(signals), [], 0
    for node in spec.memory_nodes:
        columns.append(remember(node, known, run, memory[:, at : at + width(node)]))
        at += width(node)
    earned, of_stages = _stages(spec, known, run, memory[:, at:])
    if of_stages is not None:
        columns.append(of_stages)
        at += of_stages.shape[-1]
    if spec.effort is not None:
        earned = earned * rows.ease(spec.effort, known)
    steps = torch.full_like(earned, torch.inf)
    if spec.grace:
        steps = run.since_restart(memory[:, at] + 1).clamp(max=spec.grace + 1)
        columns.append(steps[..., None].float())
    terminated = torch.zeros_like(run.is_first)
    for constraint in spec.constraints:
        violated = rows.holds(constraint.when, known) & (steps > constraint.grace)
        if isinstance(constraint, Gate):
            earned = earned.masked_fill(violated, 0)
        elif isinstance(constraint, Penalty):
            earned = torch.where(violated, earned * (1 - constraint.share), earned)
        elif isinstance(constraint, Terminate):
            terminated = terminated | violated
    for name in sorted(spec.signals):
        earned = earned + 0.0 * rows.read(name, signals)
    after = torch.cat(columns, -1) if columns else earned.new_zeros(*earned.shape, 0).float()
    return Outcome(earned, terminated, after)


def successes(node: Success, signals: rows.Signals, run: Run) -> Tensor:
    """Where an episode has just been succeeding for `held_for` rows, bool; rows that start one don't count."""
    known = dict(signals)
    for inner in memory_nodes(node):
        remember(inner, known, run, run.is_first.new_zeros(run.is_first.shape[1], width(inner)).float())
    held = HeldFor(op="held_for", of=node.when, steps=node.held_for)
    remember(held, known, run, run.is_first.new_zeros(run.is_first.shape[1], 1).float())
    return known[held.key]


def remember(node: MemoryNode, known: dict[str, Tensor], run: Run, memory: Tensor) -> Tensor:
    """Adds a node's value (T, N) to what is known under its key; returns its memory (T, N, width)."""
    if isinstance(node, Rate):
        value, after = _rate(node, known, run, memory)
    elif isinstance(node, Window):
        value, after = _window(node, known, run, memory)
    else:
        assert isinstance(node, HeldFor)
        value, after = _held_for(node, known, run, memory)
    known[node.key] = value
    return after.float()


def _rate(node: Rate, known: rows.Signals, run: Run, memory: Tensor) -> tuple[Tensor, Tensor]:
    if run.step_seconds is None:
        raise ManyheadsError("A rate is per second, and this environment does not say how long a step takes.")
    x = _remembered(rows.value(node.of, known), run)
    before = torch.cat([memory[None, :, 0].double(), x[:-1]])
    change = x - torch.where(run.restart, x, before)
    if isinstance(node.of, Unary) and node.of.op == "wrap_angle":
        change = rows.wrap_angle(change)
    rate = (change / run.step_seconds).clamp(-rows.FAR, rows.FAR)
    return rate, torch.stack([x, rate], -1)


def _window(node: Window, known: rows.Signals, run: Run, memory: Tensor) -> tuple[Tensor, Tensor]:
    x = _remembered(rows.value(node.of, known), run)
    rows_before, past = memory[:, 1].double(), memory[:, 2:].double()
    count = (run.since_restart(rows_before) + 1).clamp(max=node.steps)
    newest = torch.cat([past.T, x]).unfold(0, node.steps, 1)[1:]
    known_rows = torch.arange(node.steps, device=x.device) >= node.steps - count[..., None]
    values = torch.where(known_rows, newest, 0.0)
    if node.take == "mean":
        value = values.sum(-1) / count
    elif node.take == "max":
        value = torch.where(known_rows, newest, -torch.inf).amax(-1)
    else:
        value = torch.where(known_rows, newest, torch.inf).amin(-1)
    return value, torch.cat([torch.stack([value, count], -1), values], -1)


def _held_for(node: HeldFor, known: rows.Signals, run: Run, memory: Tensor) -> tuple[Tensor, Tensor]:
    good = rows.holds(node.of, known).expand(run.is_first.shape) & ~run.is_first
    ends = torch.where(good, torch.where(run.restart, run.number - 1, -2), run.number)
    broken = ends.cummax(0).values  # the newest row that does not count; -2: none since the memory
    count = torch.where(broken == -2, memory[:, 0] + run.number + 1, run.number - broken).clamp(max=node.steps)
    return count >= node.steps, count[..., None]


def _remembered(x: Tensor, run: Run) -> Tensor:
    """Values as exact as memory holds them, so that rows one by one give what they give together."""
    return x.expand(run.is_first.shape).float().double()


def _stages(spec: RewardSpec, known: rows.Signals, run: Run, memory: Tensor) -> tuple[Tensor, Tensor | None]:
    """What rows earn in their stage, and the memory of it, where there is any."""
    paid = [rows.total(total, known).expand(run.is_first.shape) for _, total in spec.totals]
    if spec.stages is None or (len(paid) == 1 and not spec.has_timeouts):
        return paid[0], None
    count = len(paid)
    stage, steps = _advance(spec.stages, known, run, memory[:, : count + spec.has_timeouts])
    earned = (stage + torch.stack(paid).gather(0, stage[None])[0]) / count
    after = torch.nn.functional.one_hot(stage, count).float()
    return earned, torch.cat([after, steps[..., None].float()], -1) if spec.has_timeouts else after


def _advance(stages: Sequence[Stage], known: rows.Signals, run: Run, memory: Tensor) -> tuple[Tensor, Tensor]:
    """The stage (T, N) that each row is in, and how many steps it has been there."""
    count, never = len(stages), torch.zeros_like(run.is_first)
    done = torch.stack(
        [never if s.advance_when is None else rows.holds(s.advance_when, known).expand_as(never) for s in stages]
    )
    limit = memory.new_tensor([torch.inf if s.timeout is None else s.timeout for s in stages])
    late_goes_to = torch.tensor(
        [i + 1 if s.on_timeout == "advance" else 0 for i, s in enumerate(stages)], device=memory.device
    )
    stage = memory[:, :count].argmax(-1)
    steps = memory[:, count] if memory.shape[1] > count else torch.zeros_like(memory[:, 0])
    every_stage, every_steps = [], []
    for t in range(len(never)):
        restart = run.restart[t]
        moves = done[:, t].gather(0, stage[None])[0] & ~restart
        steps = (steps + 1).clamp(max=MAX_EPISODE).masked_fill(moves | restart, 0)
        stage = (stage + moves).masked_fill(restart, 0)
        late = steps >= limit[stage]
        stage, steps = torch.where(late, late_goes_to[stage], stage), steps.masked_fill(late, 0)
        every_stage.append(stage)
        every_steps.append(steps)
    return torch.stack(every_stage), torch.stack(every_steps)
