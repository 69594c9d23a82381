"""The hooks of the platform: what a plugin may register. Each is a signature and a sentence.

A plugin is a module (named in a package's entry points, group `manyheads`) with functions decorated by
`manyheads.hookimpl`. Names are `plugin/thing`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from manyheads.commands import Commands
    from manyheads.environment.contract import Environment
    from manyheads.goals import Goal, GoalRequest
    from manyheads.heads.kind import HeadKind, LazyHeadKind
    from manyheads.loggers import LoggerKind
    from manyheads.models import LanguageModelKind
    from manyheads.rewards.contract import RewardKind
    from manyheads.runners import RunnerKind

hookspec = pluggy.HookspecMarker("manyheads")
hookimpl = pluggy.HookimplMarker("manyheads")


@hookspec
def register_environments(register: Callable[[Environment], None]) -> None:
    """Register simulators: call `register(environment)` once for each."""


@hookspec
def find_environment(name: str) -> Environment | None:
    """Give an environment that is not listed, by a name that begins with the plugin's; None where it is unknown.

    Its docstring is a sentence about how such names are made: whoever asks for an unknown one reads it.
    """


@hookspec
def register_heads(register: Callable[[HeadKind | LazyHeadKind], None]) -> None:
    """Register kinds of heads: what a task may learn on a world's latent state."""


@hookspec
def register_rewards(register: Callable[[RewardKind], None]) -> None:
    """Register kinds of reward sources: what a task file may name under `reward.source`."""


@hookspec
def register_tasks(register: Callable[[Path], None]) -> None:
    """Register task files: `register(path)` with a YAML file or a folder of `plugin/thing-goal.yaml`."""


@hookspec
def register_models(register: Callable[[LanguageModelKind], None]) -> None:
    """Register language models that can write reward specifications."""


@hookspec
def write_goal(request: GoalRequest) -> Goal | None:
    """Turn a goal in plain words into a checked reward specification, for `manyheads.goal`; None: others may."""


@hookspec
def register_commands(commands: Commands) -> None:
    """Add commands: `commands.add_command(command)` or `commands.add_lazy(name, "module:command", description)`."""


@hookspec
def register_runners(register: Callable[[RunnerKind], None]) -> None:
    """Register runners: where `manyheads train --runner NAME` trains."""


@hookspec
def register_suites(register: Callable[[Path], None]) -> None:
    """Register published scores: `register(path)` with a JSON file or a folder of `plugin/thing.json`."""


@hookspec
def register_loggers(register: Callable[[LoggerKind], None]) -> None:
    """Register loggers: where `manyheads train --log NAME` also writes the numbers of training."""
