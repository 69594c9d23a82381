"""Saving and resuming a run: weights, optimisers, replay and environments of one moment in one checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from manyheads.execution.trees import map_tensors
from manyheads.experience.replay import Replay
from manyheads.learning.best_heads import BestHeads
from manyheads.learning.lock_step import CollectorContext, RowCollector
from manyheads.learning.run_records import JOINT, finetune_record, finetune_run, run_names, run_record
from manyheads.learning.update_step import UpdateStep
from manyheads.storage.agent import load_module
from manyheads.storage.checkpoint import Checkpoint
from manyheads.storage.readouts import READOUTS, readout_record, readout_tensors
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import Task

BY_NAME = ("runs", "heads", "best")
"""parts of a checkpoint's state with a record for each run or head: a save replaces its own alone"""


@dataclass(frozen=True)
class RunSave:
    """What one save of a run writes; where another process writes it, it travels there."""

    sets: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]
    """JSON-able; see `WorldState`"""

    def copied(self) -> RunSave:
        """With tensors of its own on the CPU, which training no longer changes."""
        return RunSave(map_tensors(lambda x: x.detach().cpu().clone(), self.sets), self.state)

    def write(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint with everything else as it was."""
        state = dict(checkpoint.state)
        for name, value in self.state.items():
            state[name] = {**state.get(name, {}), **value} if name in BY_NAME else value
        checkpoint.write(self.sets, state)


class RunCheckpoint:
    """The checkpoint of a run in a world's folder: what `step` trains, the replay, and the best heads."""

    def __init__(
        self,
        folder: WorldFolder,
        tasks: Sequence[Task],
        frozen: bool,
        step: UpdateStep,
        replay: Replay,
        best: BestHeads,
    ) -> None:
        self.folder, self.tasks, self.frozen = folder, tasks, frozen
        self.step, self.replay, self.best = step, replay, best
        self.run_names = run_names(tasks, frozen)
        self.run_name = self.run_names[tasks[0].name]
        """where the collector is kept: heads that are fine-tuned together keep it with the first of them"""
        self._restored: Mapping[str, Any] = {}

    def restore(self) -> Mapping[str, Any]:
        """Loads everything that was saved; returns the run's record, which is empty for a new run."""
        checkpoint, learner, rewards = self.folder.checkpoint, self.step.learner, self.step.latent_rewards
        if "world" in checkpoint.names:
            load_module(learner.world, self.folder, "world")
        for task in self.tasks:
            if f"heads/{task.slug}/weights" in checkpoint.names:
                load_module(learner.heads[task.name], self.folder, f"heads/{task.slug}/weights")
            if f"heads/{task.slug}/reward" in checkpoint.names:
                rewards.load_state_dict(task.name, checkpoint.read(f"heads/{task.slug}/reward"))
            self.best.restore(task, checkpoint.state)
        runs = self._records()
        self._restored = runs[self.run_name]
        if self._restored:
            for run in [run for run, record in runs.items() if record]:
                name = f"{run}/learner"
                learner.load_state_dict(checkpoint.read(name), self.folder.interface_of(name))
            self.replay.restore(self._restored["replay"])
        return self._restored

    def save(self, counts: Mapping[str, Any], collector: RowCollector | None) -> None:
        """Writes one consistent checkpoint; `counts`: `steps`, `updates` and `update_credit` of the run."""
        self.replay.flush()
        if collector is not None:
            self.folder.checkpoint.forget(f"{self.run_name}/policies")
        self.content(counts, collector).write(self.folder.checkpoint)
        self.best.saved()

    def content(self, counts: Mapping[str, Any], collector: RowCollector | None = None) -> RunSave:
        """What a save writes; see `save`."""
        sets = self._tensors()
        record = {
            **counts,
            "tasks": [task.name for task in self.tasks],
            "threads": torch.get_num_threads(),
            "replay": self.replay.state(),
        }
        runs = {name: dict(record) for name in self.run_names.values()}
        if collector is not None:
            runs[self.run_name]["collector"] = collector.state()
            if policies := collector.tensors():
                sets[f"{self.run_name}/policies"] = policies
        state: dict[str, Any] = {"runs": runs}
        if not self.frozen:
            state["steps"], state["updates"] = counts["steps"], counts["updates"]
        if READOUTS in sets:
            state[READOUTS] = readout_record(self.step.learner.world)
        world_updates = state.get("updates", self.folder.checkpoint.state.get("updates", 0))
        state["heads"] = {name: {"world_updates": world_updates, "run": run} for name, run in self.run_names.items()}
        if self.best.records:
            state["best"] = dict(self.best.records)
        return RunSave(sets, state)

    def collector_context(self, tasks: Sequence[Task], say: Callable[[str], None]) -> CollectorContext:
        """What a collector is made for, with a task for each environment: it resumes where it was if the restored run
        had the same environments, and else begins new episodes."""
        learner, policies = self.step.learner, f"{self.run_name}/policies"
        same = self._restored.get("collector") and self._same_environments(tasks)
        saved = self._restored["collector"] if same else None
        tensors = self.folder.checkpoint.read(policies) if policies in self.folder.checkpoint.names else {}
        return CollectorContext(self.folder, tasks, learner.world, learner.heads, self.replay, saved, tensors, say)

    def _records(self) -> dict[str, Mapping[str, Any]]:
        if self.frozen:
            return {finetune_run(task): finetune_record(self.folder, task) for task in self.tasks}
        return {JOINT: run_record(self.folder, JOINT)}

    def _same_environments(self, tasks: Sequence[Task]) -> bool:
        """Whether the restored run had these tasks, as many environments and the world's present interface."""
        saved = self.folder.interface_of(f"{self.run_name}/learner")
        names = [task.name for task in self.tasks]
        same = self._restored["tasks"] == names and len(self._restored["collector"]["envs"]) == len(tasks)
        return same and saved == self.folder.interface

    def _tensors(self) -> dict[str, Mapping[str, Tensor]]:
        learner, readouts = self.step.learner, self.step.readouts
        sets: dict[str, Mapping[str, Tensor]] = {
            f"{run}/learner": learner.state_dict(name if self.frozen else None) for name, run in self.run_names.items()
        }
        if not self.frozen:
            sets["world"] = learner.world.state_dict()
        if not self.frozen or readouts.fresh:
            sets[READOUTS] = readout_tensors(learner.world, readouts.state_dict())
        for task in self.tasks:
            sets[f"heads/{task.slug}/weights"] = learner.heads[task.name].state_dict()
            if reward := self.step.latent_rewards.state_dict(task.name):
                sets[f"heads/{task.slug}/reward"] = reward
        return sets | self.best.tensors(learner.world, learner.heads)
