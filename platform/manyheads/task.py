"""A task file, read and checked: instance + reward source + success + head kind, as YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from manyheads import yamlfile
from manyheads.environment.contract import Instance
from manyheads.environment.notice import note_once
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

EPISODE_STEPS = 1000
"""of an environment that is trained without a task file and has no number of its own"""


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
    episode_steps: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] | None = None
    """steps of the instance (after any action repeat) until an episode is truncated; None: the environment's own
    number"""
    goal: Annotated[str, Field(max_length=500)] = ""

    def write(self, path: Path | str) -> Path:
        """Writes the file atomically, as YAML that a person can read; `load_task(path)` reads it back."""
        leave_out = {"episode_steps"} if self.episode_steps is None else None
        yamlfile.write(Path(path), self.model_dump(mode="json", exclude=leave_out))
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
        """Steps until an episode is truncated: the file's own number, else the environment's."""
        steps = self.content.episode_steps or self.instance.episode_steps
        assert steps is not None, "a task without either is refused where it is read"
        return steps

    @property
    def goal(self) -> str:
        return self.content.goal

    def make_environment(self, seed: int | None = None) -> gymnasium.Env[Any, Any]:
        """The task as a Gymnasium environment: its own reward, end and time limit; the first reset uses `seed`.

        `info` has `signals`, `task_reward` and `simulator_reward`. A reward that reads a world's latents can't be
        computed here: such a task pays the simulator's.
        """
        from manyheads.environment.episode import limit_episodes
        from manyheads.rewards.task_reward import TaskReward

        simulator = self.instance.make()
        paid = simulator if self.reward.reads == "latents" else TaskReward(simulator, self.reward)
        return limit_episodes(paid, self.episode_steps, seed)

    def make_simulator(self, seed: int | None = None) -> gymnasium.Env[Any, Any]:
        """The simulator alone, with this task's time limit; its reward and its end are the simulator's."""
        from manyheads.environment.episode import limit_episodes

        return limit_episodes(self.instance.make(), self.episode_steps, seed)

    def write(self, path: Path | str) -> Path:
        """Writes the task file atomically; `load_task(path)` gives an equal task."""
        return self.content.write(path)


def load_task(source: str | Path, name: str | None = None) -> Task:
    """A registered task by its name, or the task in a YAML file.

    A file that is not registered is called by its own name without `.yaml`, or by `name`. An environment's name is a
    task, too: its own reward and time limit (`environment_task`). Raises ManyheadsError that names the file, line and
    key of whatever is wrong.
    """
    names = registry().tasks
    if isinstance(source, str) and source in names:
        return _read(names[source], name or source)
    path = Path(source)
    if path.suffix in (".yaml", ".yml") or isinstance(source, Path):
        registered = {file.resolve(): known for known, file in names.items()}
        return _read(path, name or registered.get(path.resolve(), path.stem))
    if source not in names.contested and (found := _environment_named(str(source))):
        return environment_task(found).resolve(name or str(source))
    try:
        file = names[str(source)]
    except ManyheadsError as error:
        environments = registry().environments
        near = get_close_matches(str(source), environments, n=2)
        also = f" An environment's name is a task, too: {' or '.join(near)}." if near else ""
        raise ManyheadsError(" ".join(filter(None, [f"{error}{also}", environments.rule(str(source))]))) from None
    return _read(file, str(source))


def environment_task(name: str, options: Mapping[str, Any] | None = None) -> TaskFile:
    """The task of an environment as it is: the simulator's own reward, and its own time limit.

    Where it has none, episodes are truncated after `EPISODE_STEPS` steps, which is said once.
    """
    instance = registry().environments[name].instance(options)
    steps = None
    if instance.episode_steps is None:
        steps = EPISODE_STEPS
        note_once(
            f"{name} declares no limit of its episodes: those that last longer are cut after {steps:,} steps. "
            "Another number is a task file's episode_steps (`manyheads new task`)."
        )
    own = instance.options.model_dump(mode="json", exclude_defaults=True)
    reward = RewardSettings(source="environment")
    return TaskFile(version=1, environment=name, options=own, reward=reward, episode_steps=steps)


def _environment_named(name: str) -> str | None:
    """The name, where it is an environment's."""
    environments = registry().environments
    if name in environments:
        return name
    plugin = name.partition("/")[0]
    if plugin in registry().plugins and name.count("/") and environments.find(name) is not None:
        return name
    return None


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
    steps = content.episode_steps or instance.episode_steps
    if steps is None:
        raise document.error(
            ("episode_steps",), f"is missing, and {environment.name} has no number of its own; for example: 1000"
        )
    if content.success is not None:
        try:
            _require_measured(signals_of(content.success), instance)
        except ManyheadsError as error:
            raise document.error_about(("success",), str(error)) from None
        found = [*check_success(content.success, instance.signals), *check_time(content.success, instance)]
        if wrong := errors([*found, *check_duration(content.success, steps)]):
            raise document.error(("success",), "; ".join(map(str, wrong)))
    if isinstance(settings, SpecSettings) and (wrong := check_duration(settings.spec, steps)):
        raise document.error(("reward", "spec"), "; ".join(map(str, wrong)))
    return Task(name, content, instance, settings, path, document)


def _require_measured(names: frozenset[str], instance: Instance) -> None:
    measured = [signal.name for signal in instance.signals]
    for name in sorted(names - {*measured}):
        raise unknown(f"signal of {instance.environment.name}", name, measured)
