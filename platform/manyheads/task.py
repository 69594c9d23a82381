"""A task file, read and checked: instance + reward source + success + head kind, as YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from manyheads import yamlfile
from manyheads.environment.contract import Instance
from manyheads.errors import ManyheadsError, unknown
from manyheads.filenames import file_name
from manyheads.registry import registry
from manyheads.rewards.duration import check_duration
from manyheads.rewards.finding import errors
from manyheads.rewards.nodes import Success, signals_of
from manyheads.rewards.sources import SpecSettings
from manyheads.rewards.validate import check_success, check_time
from manyheads.yamlfile import Document
from manyheads.yamltext import Key

if TYPE_CHECKING:
    import gymnasium

    from manyheads.rewards.contract import RewardSource

T = TypeVar("T")


class RewardSettings(BaseModel):
    """`source` names a reward kind; the other keys are that kind's settings."""

    model_config = ConfigDict(extra="allow", frozen=True)

    source: str


class TaskFile(BaseModel):
    """What a task file says, and nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    environment: str
    options: dict[str, Any] = {}
    reward: RewardSettings
    success: Success | None = None
    head: str = "actor_critic"
    episode_steps: Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
    """steps of the instance (after any action repeat) until an episode is truncated"""
    goal: Annotated[str, Field(max_length=500)] = ""

    def write(self, path: Path | str) -> Path:
        """Writes the file atomically, as YAML that a person can read; `load_task(path)` reads it back."""
        yamlfile.write(Path(path), self.model_dump(mode="json"))
        return Path(path)

    def resolve(self, name: str) -> Task:
        """The task of that name, its names looked up and its settings checked."""
        return _resolve(self, name, Document(Path(name), self.model_dump(), {}))


@dataclass(frozen=True, eq=False)
class Task:
    """A task whose names and settings are known to be right; simulator and reward source are built on use."""

    name: str
    """`plugin/thing-goal`"""
    content: TaskFile = field(repr=False)
    instance: Instance = field(repr=False)
    settings: BaseModel = field(repr=False)
    """the reward kind's checked settings"""
    file: Path | None = None
    document: Document | None = field(default=None, repr=False)
    """where the task was read from, to say where a mistake is"""

    @property
    def slug(self) -> str:
        """The name as a folder's name: `dmc__walker-walk`."""
        return file_name(self.name)

    @property
    def environment(self) -> str:
        return self.content.environment

    @property
    def options(self) -> Mapping[str, Any]:
        """All options of the instance, with those that the file leaves to their defaults."""
        return self.instance.options.model_dump()

    @cached_property
    def reward(self) -> RewardSource:
        """The reward source: `reward.label(signals, first=None) -> (reward, terminated)`."""
        kind = registry().rewards[self.content.reward.source]
        try:
            source = kind.build(self.settings, self.instance)
            _require_measured(source.signals, self.instance)
        except ManyheadsError as error:
            raise (self.document.error_about(("reward",), str(error)) if self.document else error) from None
        return source

    def built(self) -> Task:
        """This task with its reward source built: what is wrong with it is said now, before anything is saved."""
        _ = self.reward
        return self

    def with_head(self, kind: str | None) -> Task:
        """This task with another kind of head, then called `NAME.KIND`; None, or its own kind: the task itself."""
        if kind is None or kind == self.head:
            return self
        _ = registry().heads[kind]
        return replace(self, name=f"{self.name}.{kind}", content=self.content.model_copy(update={"head": kind}))

    @property
    def success(self) -> Success | None:
        return self.content.success

    @property
    def head(self) -> str:
        """The name of the head kind."""
        return self.content.head

    @property
    def episode_steps(self) -> int:
        return self.content.episode_steps

    @property
    def goal(self) -> str:
        return self.content.goal

    def make_environment(self, seed: int | None = None) -> gymnasium.Env[Any, Any]:
        """The simulator with this task's time limit and `info["signals"]`; the first reset uses `seed`."""
        from manyheads.environment.episode import limit_episodes

        return limit_episodes(self.instance.make(), self.episode_steps, seed)

    def write(self, path: Path | str) -> Path:
        """Writes the task file atomically; `load_task(path)` gives an equal task."""
        return self.content.write(path)


def load_task(source: str | Path, name: str | None = None) -> Task:
    """A registered task by its name, or the task in a YAML file.

    A file that is not registered is called by its own name without `.yaml`, or by `name`. Raises
    ManyheadsError that names the file, line and key of whatever is wrong.
    """
    names = registry().tasks
    if isinstance(source, str) and source in names:
        return _read(names[source], name or source)
    path = Path(source)
    if path.suffix in (".yaml", ".yml") or isinstance(source, Path):
        registered = {file.resolve(): known for known, file in names.items()}
        return _read(path, name or registered.get(path.resolve(), path.stem))
    return _read(names[str(source)], str(source))


def tasks() -> list[Task]:
    """All registered tasks by name. A file with mistakes is reported with its plugin's name and left out."""
    known = registry()
    found = []
    for name, path in known.tasks.items():
        try:
            found.append(_read(path, name))
        except ManyheadsError as error:
            known.report(known.plugins[known.tasks.owners[name]], f"has a task that can't be used: {error}")
    return found


def _read(path: Path, name: str) -> Task:
    document = yamlfile.read(path)
    return _resolve(document.check(TaskFile), name, document, path)


def _resolve(content: TaskFile, name: str, document: Document, path: Path | None = None) -> Task:
    """Looks names up and checks options and reward settings; errors name the place in the document."""
    known = registry()

    def lookup(where: tuple[Key, ...], find: Callable[[], T]) -> T:
        try:
            return find()
        except ManyheadsError as error:
            raise document.error(where, str(error)) from None

    environment = lookup(("environment",), lambda: known.environments[content.environment])
    instance = lookup(("options",), lambda: environment.instance(content.options))
    kind = lookup(("reward", "source"), lambda: known.rewards[content.reward.source])
    lookup(("head",), lambda: known.heads[content.head])
    settings = document.check(kind.settings, ("reward",), content.reward.model_extra or {})
    if content.success is not None:
        try:
            _require_measured(signals_of(content.success), instance)
        except ManyheadsError as error:
            raise document.error_about(("success",), str(error)) from None
        found = [*check_success(content.success, instance.signals), *check_time(content.success, instance)]
        if wrong := errors([*found, *check_duration(content.success, content.episode_steps)]):
            raise document.error(("success",), "; ".join(map(str, wrong)))
    if isinstance(settings, SpecSettings) and (wrong := check_duration(settings.spec, content.episode_steps)):
        raise document.error(("reward", "spec"), "; ".join(map(str, wrong)))
    return Task(name, content, instance, settings, path, document)


def _require_measured(names: frozenset[str], instance: Instance) -> None:
    measured = [signal.name for signal in instance.signals]
    for name in sorted(names - {*measured}):
        raise unknown(f"signal of {instance.environment.name}", name, measured)
