"""Records of runs in a world's checkpoint: joint training has one, each head trained on the frozen world its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from manyheads.storage.world_folder import WorldFolder
from manyheads.task import Task

JOINT = "train"
"""the run of joint training"""


def finetune_run(task: Task) -> str:
    """The run in which a head is fine-tuned."""
    return f"finetune/{task.slug}"


def run_names(tasks: Sequence[Task], frozen: bool) -> dict[str, str]:
    """The run of each task's progress; one for all tasks of joint training."""
    return {task.name: finetune_run(task) if frozen else JOINT for task in tasks}


def run_record(folder: WorldFolder, run: str) -> Mapping[str, Any]:
    """The record of a run; empty before its first save."""
    record: Mapping[str, Any] = folder.checkpoint.state.get("runs", {}).get(run, {})
    return record


def finetune_record(folder: WorldFolder, task: Task) -> Mapping[str, Any]:
    """The record of a head's fine-tuning; empty before the first, and where the world model was trained on since: the
    head's weights are then where a new run begins."""
    if task.name in folder.heads and folder.is_stale(task.name):
        return {}
    return run_record(folder, finetune_run(task))


def group_by_progress(folder: WorldFolder, tasks: Sequence[Task]) -> list[list[Task]]:
    """Tasks of one environment whose heads were fine-tuned equally far: they learn from the same batches, so each of
    these groups can continue as one, with the numbers that each head has alone."""
    found: dict[tuple[str, int, int], list[Task]] = {}
    for task in tasks:
        run = finetune_record(folder, task)
        key = task.instance.dynamics_key, run.get("steps", 0), run.get("updates", 0)
        found.setdefault(key, []).append(task)
    return [*found.values()]
