"""What counts as 1 for a task: a published score, or the most that its specification pays."""

from __future__ import annotations

from collections.abc import Sequence

from manyheads.learning.aggregate import Aggregate, Reference, TaskScores, aggregate, normalised
from manyheads.registry import registry
from manyheads.report.published import load_suite
from manyheads.rewards.sources import SpecSource
from manyheads.storage.evaluations import Evaluation
from manyheads.task import Task


def reference_of(task: Task) -> Reference | None:
    """The published mean at the longest training of the first suite that has this task under the same options; for a
    specification the steps of an episode, since it pays at most 1 for each; else None."""
    for suite in map(load_suite, registry().suites):
        if task.name in suite.scores:
            options = suite.task_options(task.name)
            if all(task.options.get(name) == value for name, value in options.items()):
                return Reference([*suite.of(task.name).values()][-1].mean, "published", simulator=True)
    if isinstance(task.reward, SpecSource):
        return Reference(float(task.episode_steps), "bound", simulator=False)
    return None


def aggregated(results: Sequence[Evaluation], tasks: Sequence[Task]) -> Aggregate | None:
    """All heads' episodes as one number, of those tasks that have a reference above what random actions earn."""
    found, without = [], []
    for task in tasks:
        by_policy = {each.policy: each for each in results if each.task == task.name}
        reference = reference_of(task)
        if reference is None:
            without.append(task.name)
            continue
        random, own = (
            [each.return_simulator if reference.simulator else each.return_task for each in by_policy[policy].episodes]
            for policy in ("random", "head")
        )
        base = sum(random) / len(random)
        if reference.value <= base:
            without.append(task.name)
        else:
            found.append(TaskScores(task.name, reference, normalised(own, base, reference.value)))
    return aggregate(found, without)
