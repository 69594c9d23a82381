"""The one place where reward is computed: a task's source over the rows of a batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from manyheads.errors import ForeignError, ManyheadsError
from manyheads.experience.batch import Batch, WindowIndex
from manyheads.experience.replay import Replay
from manyheads.experience.stream import RecordedInstance
from manyheads.learning.learner import HeadLabels
from manyheads.learning.memory_table import MemoryTable
from manyheads.rewards.contract import Steps
from manyheads.task import Task


class Labeller:
    """Labels batches of a replay for one task.

    The source is given copies of rows of its own environment alone, each signal from the column that was recorded under
    its name. Where it remembers earlier rows, it begins with what the stored episode had made it remember.
    """

    def __init__(self, task: Task, replay: Replay) -> None:
        self.task, self.replay = task, replay
        self.source = task.reward
        measured = {signal.name for signal in task.instance.signals}
        missing = sorted(self.source.signals - measured)
        if missing:
            raise ManyheadsError(f"{task.name} reads {', '.join(missing)}, which {task.environment} does not measure.")
        self._table = MemoryTable(self.source, replay) if self.source.memory_size else None

    def __call__(self, batch: Batch, where: WindowIndex) -> HeadLabels:
        """Rewards, ends and the mask (B, T) of the task's own rows, and memory (B, T, M) where the source has any.

        Elsewhere the reward is 0 and the ends are the simulator's.
        """
        reward = torch.zeros(batch.shape)
        is_terminal, mask = batch.is_terminal.clone(), torch.zeros_like(batch.is_first)
        memory = None if self._table is None else torch.zeros(*batch.shape, self.source.memory_size)
        for number in sorted({*batch.instance.tolist()}):
            instance = self.replay.instances[number]
            if not self._owns(instance):
                continue
            windows = (batch.instance == number).nonzero().squeeze(1)
            before, unknown = self._before(batch, where, windows)
            steps = self._unroll(batch, where, windows, instance, before, unknown)
            reward[windows] = torch.where(batch.is_first[windows], 0.0, steps.reward)
            is_terminal[windows] |= steps.terminated
            mask[windows] = ~unknown
            if memory is not None:
                memory[windows] = steps.memory
        return HeadLabels(reward, is_terminal, mask, memory)

    def _unroll(
        self,
        batch: Batch,
        where: WindowIndex,
        windows: Tensor,
        instance: RecordedInstance,
        before: Tensor | None,
        unknown: Tensor,
    ) -> Steps:
        """The source over some windows of one instance, (B, T) and memory (B, T, M)."""
        columns = {name: instance.signals.index(name) for name in self.source.signals}
        signals = {name: batch.signals[windows, :, column].T.clone() for name, column in columns.items()}
        try:
            steps = self.source.unroll(signals, (batch.is_first[windows] | unknown).T, before)
        except Exception as error:
            cause = error if isinstance(error, ManyheadsError) else f"{type(error).__name__}: {error}"
            raise ForeignError(f"{self._rows(where, windows, instance)}: {cause}") from error
        finite = steps.reward.isfinite().all(0)
        if not finite.all():
            raise ForeignError(
                f"{self._rows(where, windows[~finite], instance)}: a reward is not finite. "
                "A signal that it reads was not, or the source divides by zero."
            )
        return Steps(*(part.transpose(0, 1) for part in steps))

    def _before(self, batch: Batch, where: WindowIndex, windows: Tensor) -> tuple[Tensor | None, Tensor]:
        """What the source remembers (B, M) before each window, and the rows (B, T) at which that is not known."""
        unknown = torch.zeros_like(batch.is_first[windows])
        if self._table is None:
            return None, unknown
        at = [(int(where.streams[b]), int(where.starts[b])) for b in windows.tolist()]
        found = [self._table.before(stream, row) for stream, row in at]
        unknown[:, 0] = torch.tensor([one is None for one in found]) & ~batch.is_first[windows, 0]
        fresh = self.source.init(1)[0].numpy()
        return torch.from_numpy(np.stack([fresh if one is None else one for one in found])), unknown

    def _rows(self, where: WindowIndex, windows: Tensor, instance: RecordedInstance) -> str:
        """Which rows were labelled, in words."""
        places = [
            f"stream {where.streams[b]} rows {where.starts[b]} to {where.starts[b] + where.length - 1}"
            for b in windows[:3].tolist()
        ]
        more = f" and {len(windows) - 3} other windows" if len(windows) > 3 else ""
        return f"The reward of {self.task.name} on {instance.key}, {'; '.join(places)}{more}"

    def _owns(self, instance: RecordedInstance) -> bool:
        """Whether the source's labels hold on rows of an instance, all of whose signals it needs were recorded."""
        if not self.source.signals <= {*instance.signals}:
            return False
        if self.source.own_rows_only:
            return instance.key == self.task.instance.key
        return instance.dynamics_key == self.task.instance.dynamics_key
