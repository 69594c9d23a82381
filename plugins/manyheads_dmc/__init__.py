"""The dm_control suite: an environment for each domain, `dmc/<domain>`, with its signals; published scores of tasks."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyheads.environment.contract import Environment, Signal
from manyheads.hookspecs import hookimpl
from manyheads_dmc.domains import CONTROL_SECONDS, TASKS, SuiteOptions, options, reset_only_options

if TYPE_CHECKING:
    import gymnasium


@hookimpl
def register_environments(register: Callable[[Environment], None]) -> None:
    for domain, tasks in TASKS.items():
        register(
            Environment(
                name=f"dmc/{domain}",
                factory=partial(_make, domain),
                signals=partial(_signals, domain),
                options=options(domain),
                reset_only_options=reset_only_options(domain),
                step_seconds=partial(_step_seconds, domain),
                episode_steps=_episode_steps,
                requires=("dm_control",),
                extra="dmc",
                description=f"dm_control's {domain.replace('_', ' ')}; tasks: {', '.join(tasks)}",
            )
        )


@hookimpl
def register_suites(register: Callable[[Path], None]) -> None:
    register(Path(__file__).parent / "suites")


def _make(domain: str, options: SuiteOptions) -> "gymnasium.Env[Any, Any]":
    from manyheads_dmc.simulator import Simulator

    return Simulator(domain, options)


def _step_seconds(domain: str, options: SuiteOptions) -> float:
    return CONTROL_SECONDS[domain] * options.action_repeat


def _episode_steps(options: SuiteOptions) -> int:
    """The suite's episodes have 1,000 steps."""
    return max(1, 1000 // options.action_repeat)


def _signals(domain: str, options: Any) -> tuple[Signal, ...]:
    from manyheads_dmc.signals import TABLES

    return tuple(measure.signal for measure in TABLES[domain](options.task))
