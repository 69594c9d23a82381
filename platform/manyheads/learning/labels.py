"""The one place where reward is computed: a task's source over the rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from manyheads.errors import ManyheadsError
from manyheads.experience.batch import Batch
from manyheads.experience.stream import Recorded
from manyheads.learning.learner import HeadLabels
from manyheads.task import Task


class Labeller:
    """Labels batches for one task; `instances` is the replay's growing list, which batches index."""

    def __init__(self, task: Task, instances: Sequence[Recorded]) -> None:
        self.task = task
        self.source = task.reward
        catalogue = {signal.name for signal in task.instance.signals}
        missing = sorted(self.source.signals - catalogue)
        if missing:
            raise ManyheadsError(f"{task.name} reads {', '.join(missing)}, which {task.environment} does not measure.")
        self._instances = instances

    def _owns(self, instance: Recorded) -> bool:
        if self.source.own_rows_only:
            return instance.key == self.task.instance.key
        return instance.experience == self.task.instance.experience

    def __call__(self, batch: Batch) -> HeadLabels:
        mine = [self._owns(instance) for instance in self._instances]
        owned = torch.tensor(mine, device=batch.instance.device)[batch.instance]
        columns = [signal.name for signal in self.task.instance.signals]
        signals = {name: batch.signals[..., columns.index(name)] for name in self.source.signals}
        reward, terminated = self.source.label(signals, batch.first)
        rows = owned[:, None].expand(batch.shape)
        return HeadLabels(
            reward=torch.where(rows & ~batch.first, reward, 0.0),
            terminal=batch.terminal | (terminated & rows),
            owned=rows,
        )
