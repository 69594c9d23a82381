"""What the core itself registers, through the same hooks as every plugin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyheads.heads.kind import HeadKind, LazyHeadKind
from manyheads.hookspecs import hookimpl
from manyheads.jobs import run_jobs_here
from manyheads.loggers import Logger, LoggerKind
from manyheads.runners import LOCAL, RunnerKind

if TYPE_CHECKING:
    from manyheads.callbacks import Monitoring
    from manyheads.commands import Commands
    from manyheads.report.metrics import Metrics
    from manyheads.report.progress import Progress
    from manyheads.rewards.contract import RewardKind
    from manyheads.storage.world_folder import WorldFolder
    from manyheads.task import Task

COMMANDS = {
    "bench": "measure the speed of one update, and of training, on this machine",
    "demo": "from nothing to a head for a sentence, in a few minutes",
    "doctor": "what this machine has, what is missing and the command that fixes it",
    "evaluate": "play heads in the simulator and compare them with a random policy",
    "export": "write heads as ONNX, experience as a Minari data set",
    "finetune": "train a head on a frozen world",
    "head": "delete, copy and rename heads of a world",
    "import": "add recorded episodes of another library to a world",
    "list": "what is registered: environments, tasks, heads, plugins and more",
    "new": "write a new plugin package, or a task, to start from",
    "pack": "write heads and their world as one file to hand on",
    "replay": "what a world has recorded: episodes, and ranges of signals",
    "report": "write the report of a world as one HTML page",
    "reproduce": "run a published benchmark task and compare with its scores",
    "reward": "what an environment measures; check reward specifications",
    "show": "what is in a world",
    "train": "train a world and heads jointly",
    "unpack": "open a pack as a world, or look at it",
    "watch": "write a video, real next to imagined",
    "why": "what a head's real return differs by from the predicted one",
}
"""Each command `name` is `manyheads.cli.<name>:<name>`, with an underscore behind it where Python has the word."""

NEEDS = {"export": (("onnx", "onnxscript", "onnxruntime"), "onnx"), "import": (("minari", "h5py"), "minari")}
"""Modules that commands need, at least for some of their options, and the extras that install them."""


@hookimpl
def register_heads(register: Callable[[HeadKind | LazyHeadKind], None]) -> None:
    register(
        LazyHeadKind(
            "actor_critic",
            where="manyheads.heads.actor_critic:KIND",
            description="reward, continue, actor and critic, trained in imagination as in DreamerV3",
        )
    )
    register(
        LazyHeadKind(
            "planner",
            where="manyheads.heads.planner:KIND",
            description="plans each action in the world model under the task's reward; nothing to train",
        )
    )


@hookimpl
def register_rewards(register: Callable[[RewardKind], None]) -> None:
    from manyheads.rewards import sources

    for kind in sources.KINDS:
        register(kind)


@hookimpl
def register_commands(commands: Commands) -> None:
    for name, description in COMMANDS.items():
        module = f"{name}_" if iskeyword(name) else name
        commands.add_lazy(name, f"manyheads.cli.{module}:{module}", description, *NEEDS.get(name, ()))


@hookimpl
def register_runners(register: Callable[[RunnerKind], None]) -> None:
    register(
        RunnerKind(
            name=LOCAL,
            run=_run_here,
            run_all=run_jobs_here,
            description="the training loop in this process; of several runs one after the other",
        )
    )


@hookimpl
def register_loggers(register: Callable[[LoggerKind], None]) -> None:
    register(
        LoggerKind(name="tensorboard", open=_open_tensorboard, description="TensorBoard files in WORLD/tensorboard")
    )


def _run_here(
    folder: WorldFolder,
    tasks: Sequence[Task],
    steps: int,
    progress: Progress,
    metrics: Metrics,
    settings: Any,
    monitoring: Monitoring | None = None,
) -> None:
    from manyheads.learning.trainer import Trainer

    with closing(Trainer(folder, tasks)) as trainer:
        trainer.collect_and_learn(steps, progress, metrics, monitoring)


def _open_tensorboard(world: Path, config: Mapping[str, Any], settings: Any) -> Logger:
    from manyheads.report.tensorboard import TensorBoard

    return TensorBoard(world, config, settings)
