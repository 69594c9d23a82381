"""Packs hold data alone: a task that names code is neither packed nor unpacked."""

from __future__ import annotations

from manyheads.errors import ManyheadsError
from manyheads.task import TaskFile


def require_data_alone(task: TaskFile, name: str) -> None:
    """Raises ManyheadsError where a task names code: a Python function, or a module that registers its environment."""
    if task.reward.source == "python":
        raise ManyheadsError(
            f"The reward of {name} is a Python function, and packs never carry or name code. Write it as a "
            "specification (`manyheads goal`, or docs/rewards.md)."
        )
    require_names_alone(task.environment, name)


def require_names_alone(environment: str, owner: str) -> None:
    """Raises ManyheadsError where an environment is named with a module, which would be imported."""
    if ":" in environment:
        raise ManyheadsError(
            f"{owner} names a module in its environment {environment!r}, and packs never carry or name code. "
            "Announce the environment in an installed package, by an entry point, and name it without the module."
        )
