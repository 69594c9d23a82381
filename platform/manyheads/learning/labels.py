"""The one place where reward is computed: a task's source over the rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from manyheads.errors import ManyheadsError
from manyheads.experience.batch import Batch
from manyheads.experience.stream import RecordedInstance
from manyheads.learning.learner import HeadLabels
from manyheads.task import Task


class Labeller:
    """Labels batches for one task; `instances` is the replay's growing list, which `Batch.instance` indexes.

    The source sees rows of its own environment alone, each signal from the column that was recorded under its name.
    """

    def __init__(self, task: Task, instances: Sequence[RecordedInstance]) -> None:
        self.task = task
        self.source = task.reward
        measured = {signal.name for signal in task.instance.signals}
        missing = sorted(self.source.signals - measured)
        if missing:
            raise ManyheadsError(f"{task.name} reads {', '.join(missing)}, which {task.environment} does not measure.")
        self._instances = instances

    def __call__(self, batch: Batch) -> HeadLabels:
        """Rewards, ends and the mask (B, T) of the task's own rows; elsewhere reward 0 and the simulator's ends."""
        reward = torch.zeros(batch.shape, device=batch.is_first.device)
        is_terminal, mask = batch.is_terminal.clone(), torch.zeros_like(batch.is_first)
        for number in sorted({*batch.instance.tolist()}):
            instance = self._instances[number]
            if not self._owns(instance):
                continue
            rows = (batch.instance == number).nonzero().squeeze(1)
            signals = {name: batch.signals[rows, :, instance.signals.index(name)] for name in self.source.signals}
            is_first = batch.is_first[rows]
            earned, terminated = self.source.label(signals, is_first)
            reward[rows] = torch.where(is_first, 0.0, earned)
            is_terminal[rows] |= terminated
            mask[rows] = True
        return HeadLabels(reward, is_terminal, mask)

    def _owns(self, instance: RecordedInstance) -> bool:
        """Whether the source's labels hold on rows of an instance, all of whose signals it needs were recorded."""
        if not self.source.signals <= {*instance.signals}:
            return False
        if self.source.own_rows_only:
            return instance.key == self.task.instance.key
        return instance.dynamics_key == self.task.instance.dynamics_key
