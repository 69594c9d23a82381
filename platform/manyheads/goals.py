"""Goals in plain words: `manyheads.goal`, answered by whatever plugin writes specifications."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyheads import atomic
from manyheads.errors import ManyheadsError
from manyheads.registry import registry

if TYPE_CHECKING:
    from manyheads.rewards.spec import RewardSpec
    from manyheads.task import Task, TaskFile


@dataclass(frozen=True)
class GoalRequest:
    """What is asked of a writer of goals."""

    sentence: str
    environment: str | None = None
    """where it is to be reached; None: in the world's only one"""
    options: Mapping[str, Any] = field(default_factory=dict)
    """of the environment"""
    world: Path | None = None
    """ranges and episodes are taken from this one"""
    model: str | None = None
    """a language model by its name; None: the usual one"""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """further settings of the model, as the goal command's flags: `tries`, `max_tokens`, `timeout`"""


@dataclass(frozen=True)
class Reason:
    """One decision on the way from a sentence to its specification."""

    about: str
    """the words of the sentence"""
    question: str
    answer: str
    step: str
    """which step of the writer decided"""
    why: str = ""


@dataclass(frozen=True)
class Goal:
    """A sentence as a checked reward specification, with the reasons for every part of it."""

    sentence: str
    spec: RewardSpec
    task: TaskFile
    description: str
    """the specification in plain words"""
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    """words of the sentence that became no part of it"""
    familiar: bool | None = None
    """whether the world has seen what the goal asks for; None where no world was asked"""
    journal: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """every prompt, answer and decision"""

    def __str__(self) -> str:
        lines = [self.sentence, self.description, *(f"warning: {each}" for each in self.warnings)]
        lines += [f"{one.question} {one.answer} ({one.step})" for one in self.reasons]
        return "\n".join(lines)

    def write(self, path: str | Path) -> Task:
        """Writes the task file, and next to it the journal as JSON lines; the task as it is read back."""
        from manyheads.task import load_task

        path = Path(path)
        if path.suffix not in (".yaml", ".yml"):
            raise ManyheadsError(f"{path}: a task file's name ends in .yaml.")
        self.task.write(path)
        lines = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in self.journal)
        atomic.write_text(path.with_suffix(".jsonl"), lines)
        return load_task(path)


def goal(
    sentence: str,
    environment: str | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    world: str | Path | None = None,
    model: str | None = None,
    **limits: Any,
) -> Goal:
    """Turns a goal in plain words into a checked reward specification, for an environment or a world's only one.

    With `world` the writer uses what that world has measured. `model` names a language model, `limits` are further
    settings of it (`tries`, `max_tokens`, `timeout`). Raises ManyheadsError where the goal is about something that the
    environment does not measure.
    """
    request = GoalRequest(sentence, environment, options or {}, None if world is None else Path(world), model, limits)
    found = registry().ask("write_goal", request)
    if found is None:
        raise ManyheadsError(
            "No installed plugin writes goals; manyheads_glam does (`manyheads list plugins` says what is installed)."
        )
    assert isinstance(found, Goal)
    return found
