"""Whether an episode is long enough for what a task asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from manyheads.rewards.finding import Finding
from manyheads.rewards.nodes import HeldFor, Join, Node, Not, Predicate, Success, walk
from manyheads.rewards.spec import AnyConstraint, RewardSpec


def check_duration(node: Node, episode_steps: int) -> list[Finding]:
    """What can't happen in an episode of so many steps: a condition held for longer, a stage that begins later, a
    constraint whose grace is all of it."""
    found = [finding for path, part in walk(node) for finding in _too_late(path, part, episode_steps)]
    message = f"; an episode has {episode_steps}. Ask for fewer steps, or give the task more `episode_steps`."
    return [replace(finding, message=finding.message + message) for finding in found]


def _too_late(path: str, part: Node, steps: int) -> Iterator[Finding]:
    def finding(message: str, where: str = path) -> Finding:
        return Finding("L2_EPISODE", "error", where, message)

    if isinstance(part, HeldFor) and earliest(part) > steps:
        yield finding(f"This holds after {earliest(part)} steps at the earliest")
    elif isinstance(part, Success) and earliest(part.when) <= steps < earliest(part.when) + part.held_for - 1:
        yield finding(f"Success comes after {earliest(part.when) + part.held_for - 1} steps at the earliest")
    elif isinstance(part, AnyConstraint) and part.grace >= steps:
        yield finding(f"A grace of {part.grace} steps never ends")
    elif isinstance(part, RewardSpec):
        begins = 0
        for i, stage in enumerate(part.stages or []):
            if begins >= steps:
                yield finding(f"This stage begins after {begins} steps at the earliest", f"stages[{i}]")
                return
            ways = [] if stage.advance_when is None else [earliest(stage.advance_when)]
            if stage.timeout is not None and stage.on_timeout == "advance":
                ways.append(stage.timeout)
            begins += min(ways, default=0)


def earliest(when: Predicate) -> int:
    """The step of an episode, counted from 1, on which a predicate can hold first."""
    if isinstance(when, HeldFor):
        return earliest(when.of) + when.steps - 1
    if isinstance(when, Join):
        return (max if when.op == "all" else min)(map(earliest, when.of))
    return earliest(when.of.of) if isinstance(when, Not) and isinstance(when.of, Not) else 1
