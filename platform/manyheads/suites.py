"""Published scores to compare a run with: a JSON file a suite, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from manyheads.errors import ManyheadsError, unknown


class Score(BaseModel):
    """What was published at one mark."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    mean: float
    low: float
    """of the lowest seed"""
    high: float
    """of the highest seed"""
    seeds: int = Field(ge=1)


class SuiteFile(BaseModel):
    """The content of a suite's file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str
    preset: str
    """settings of the published runs: a packaged preset, or a YAML file next to this one"""
    options: Mapping[str, Any] = {}
    """of every task's environment, in addition to those in its task file"""
    options_of: Mapping[str, Mapping[str, Any]] = {}
    """of single tasks, by name"""
    window: int = Field(ge=1)
    """environment steps before a mark whose training episodes make the score, repeated actions counted"""
    scores: Mapping[str, Mapping[int, Score]] = Field(min_length=1)
    """by task and by mark, in environment steps, repeated actions counted"""


class Suite(SuiteFile):
    """A suite under its name."""

    name: str
    path: Path

    def of(self, task: str) -> Mapping[int, Score]:
        """The published scores of a task by mark, ascending; raises ManyheadsError for a task without any."""
        if task not in self.scores:
            raise unknown(f"task with a published score in {self.name}", task, self.scores)
        return dict(sorted(self.scores[task].items()))

    def task_options(self, task: str) -> dict[str, Any]:
        """The options of a task's environment in the published runs."""
        return {**self.options, **self.options_of.get(task, {})}

    @property
    def settings(self) -> str | Path:
        """What `load_settings` reads: the preset's name, or the YAML file."""
        return self.path.parent / self.preset if self.preset.endswith(".yaml") else self.preset


def read_suite(name: str, path: Path) -> Suite:
    """Reads a suite's file; raises ManyheadsError that names the file and the key."""
    try:
        content = SuiteFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ManyheadsError(f"{path} can't be read: {error.strerror}.") from error
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise ManyheadsError(f"{path}: {f'{key}: ' if key else ''}{problem['msg']}.") from None
    return Suite(**{key: getattr(content, key) for key in SuiteFile.model_fields}, name=name, path=path)
