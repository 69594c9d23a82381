"""One world model, many heads, goals in plain words: the public face, imported on use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from manyheads.execution.toolchain import keep_compiled_code

if TYPE_CHECKING:
    from manyheads.api.shared_world import SharedWorld, load, open_world
    from manyheads.callbacks import Callback, EarlyStopping, TimeLimit, TrainingEvent
    from manyheads.environment.contract import Environment, Instance, Options, Signal
    from manyheads.errors import ManyheadsError
    from manyheads.goals import Goal, GoalRequest, Reason, goal
    from manyheads.heads.contract import Head, HeadBatch, HeadLosses
    from manyheads.heads.kind import HeadContext, HeadKind, LazyHeadKind
    from manyheads.hookspecs import hookimpl
    from manyheads.imagined_env.envs import imagined
    from manyheads.loggers import Logger, LoggerKind
    from manyheads.models import LanguageModel, LanguageModelKind
    from manyheads.registry import make
    from manyheads.rewards.contract import Labels, RewardKind, RewardSource
    from manyheads.rewards.nodes import Success
    from manyheads.rewards.sources import SignalSource, load_spec
    from manyheads.rewards.spec import RewardSpec
    from manyheads.runners import RunnerKind
    from manyheads.storage.agent import Agent, VectorAgent
    from manyheads.storage.evaluations import Evaluation
    from manyheads.task import Task, TaskFile, load_task, tasks
    from manyheads.trust import allow_module

_MODULES = {
    "Agent": "storage.agent",
    "Callback": "callbacks",
    "EarlyStopping": "callbacks",
    "Environment": "environment.contract",
    "Evaluation": "storage.evaluations",
    "Goal": "goals",
    "GoalRequest": "goals",
    "Head": "heads.contract",
    "HeadBatch": "heads.contract",
    "HeadContext": "heads.kind",
    "HeadKind": "heads.kind",
    "HeadLosses": "heads.contract",
    "Instance": "environment.contract",
    "Labels": "rewards.contract",
    "LanguageModel": "models",
    "LanguageModelKind": "models",
    "LazyHeadKind": "heads.kind",
    "Logger": "loggers",
    "LoggerKind": "loggers",
    "ManyheadsError": "errors",
    "Options": "environment.contract",
    "Reason": "goals",
    "RewardKind": "rewards.contract",
    "RewardSource": "rewards.contract",
    "RewardSpec": "rewards.spec",
    "RunnerKind": "runners",
    "SharedWorld": "api.shared_world",
    "Signal": "environment.contract",
    "SignalSource": "rewards.sources",
    "Success": "rewards.nodes",
    "Task": "task",
    "TaskFile": "task",
    "TimeLimit": "callbacks",
    "TrainingEvent": "callbacks",
    "VectorAgent": "storage.agent",
    "goal": "goals",
    "allow_module": "trust",
    "hookimpl": "hookspecs",
    "imagined": "imagined_env.envs",
    "load": "api.shared_world",
    "load_spec": "rewards.sources",
    "load_task": "task",
    "make": "registry",
    "open_world": "api.shared_world",
    "tasks": "task",
}
"""Where each public name lies; a test keeps this table, the imports above and `__all__` equal."""

__all__ = [
    "Agent",
    "Callback",
    "EarlyStopping",
    "Environment",
    "Evaluation",
    "Goal",
    "GoalRequest",
    "Head",
    "HeadBatch",
    "HeadContext",
    "HeadKind",
    "HeadLosses",
    "Instance",
    "Labels",
    "LanguageModel",
    "LanguageModelKind",
    "LazyHeadKind",
    "Logger",
    "LoggerKind",
    "ManyheadsError",
    "Options",
    "Reason",
    "RewardKind",
    "RewardSource",
    "RewardSpec",
    "RunnerKind",
    "SharedWorld",
    "Signal",
    "SignalSource",
    "Success",
    "Task",
    "TaskFile",
    "TimeLimit",
    "TrainingEvent",
    "VectorAgent",
    "allow_module",
    "goal",
    "hookimpl",
    "imagined",
    "load",
    "load_spec",
    "load_task",
    "make",
    "open_world",
    "tasks",
]

keep_compiled_code()


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'manyheads' has no attribute {name!r}")
    value = getattr(import_module(f"manyheads.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
