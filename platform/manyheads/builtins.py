"""What the core itself registers, through the same door as every plugin."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from manyheads.heads.kind import HeadKind, LazyHeadKind
from manyheads.hookspecs import hookimpl

if TYPE_CHECKING:
    from manyheads.commands import Commands
    from manyheads.rewards.contract import RewardKind

COMMANDS = {
    "bench": "measure the speed of one update, and of training, on this machine",
    "demo": "from nothing to a head for a sentence, in a few minutes",
    "doctor": "what this machine has, what is missing and the command that mends it",
    "evaluate": "play heads in the simulator and compare them with a random policy",
    "finetune": "train a head on a frozen world",
    "list": "environments, tasks, heads, rewards, models and plugins",
    "new": "write a new plugin package to start from",
    "report": "write the report of a world as one HTML page",
    "reproduce": "run a published benchmark task and compare with its scores",
    "reward": "what an environment measures; check reward specifications",
    "show": "what is in a world",
    "train": "train a world and heads jointly",
    "watch": "write a video, real beside imagined",
}
"""Each command `name` is `manyheads.cli.<name>:<name>`."""


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
    for name, says in COMMANDS.items():
        commands.add_lazy(name, f"manyheads.cli.{name}:{name}", says)
