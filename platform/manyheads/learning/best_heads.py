"""The best heads of a run, by their evaluations while it trains: their records and their weights, saved when new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from manyheads.heads.contract import Head
from manyheads.task import Task
from manyheads.world.model import World


class BestHeads:
    """Which heads were best, and when. Each is kept with the world that it was played on."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        """by task, JSON-able: `steps`, `updates`, `mean_return`, `episodes`"""
        self._unsaved: list[Task] = []

    @property
    def returns(self) -> dict[str, float]:
        """The best mean return of each task so far."""
        return {name: record["mean_return"] for name, record in self.records.items()}

    @property
    def has_unsaved(self) -> bool:
        """Whether a head became the best since the last save."""
        return bool(self._unsaved)

    def restore(self, task: Task, state: Mapping[str, Any]) -> None:
        """Takes a task's record from a checkpoint's state, where it has one."""
        if record := state.get("best", {}).get(task.name):
            self.records[task.name] = record

    def add(self, task: Task, record: dict[str, Any]) -> None:
        """Makes a task's present head its best."""
        self.records[task.name] = record
        self._unsaved.append(task)

    def tensors(self, world: World, heads: Mapping[str, Head]) -> dict[str, Mapping[str, Tensor]]:
        """The sets of tensors to save: those of heads that became the best since the last save."""
        sets: dict[str, Mapping[str, Tensor]] = {}
        for task in self._unsaved:
            sets[f"best/{task.slug}/world"] = world.state_dict()
            sets[f"best/{task.slug}/weights"] = heads[task.name].state_dict()
        return sets

    def saved(self) -> None:
        """To be called when `tensors` are on disk."""
        self._unsaved = []
