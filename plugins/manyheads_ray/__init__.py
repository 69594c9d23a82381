"""Ray: environments, learners, heads and many runs on the nodes of a cluster, or the cores of one machine."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from manyheads.hookspecs import hookimpl
from manyheads.runners import RunnerKind

if TYPE_CHECKING:
    from manyheads.commands import Commands
    from manyheads.storage.world_folder import WorldFolder
    from manyheads.task import Task


class RaySettings(BaseModel):
    """What runs where; `--set ray.collectors=8`, at every start."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str | None = Field(None, description="host:port of the cluster; None: RAY_ADDRESS, else one started here")
    collectors: int = Field(
        2, ge=0, description="actors that share the environments; 0: the process that learns steps them, in lock-step"
    )
    collector_cpus: float = Field(1, gt=0, description="cores that Ray sets aside for each collector")
    learners: int = Field(1, ge=1, description="processes that train the world together, each on its part of a batch")
    learner_cpus: float = Field(
        1, gt=0, description="cores for each of several learners, each part of heads, each run of a sweep"
    )
    parts: int | None = Field(
        None, ge=1, description="how many processes share the heads of a frozen world; None: one a head, as cores allow"
    )
    chunk_steps: int = Field(16, ge=1, description="most steps of each environment between two weights")
    max_lag: int = Field(500, ge=1, description="most updates between the weights that acted and those that are there")
    startup: float = Field(300, gt=0, description="seconds in which all collectors must be there")
    patience: float = Field(
        60, gt=0, description="seconds that learning waits at max_lag before a collector's rows are given up"
    )


@hookimpl
def register_runners(register: Callable[[RunnerKind], None]) -> None:
    register(
        RunnerKind(
            name="ray",
            run=_run,
            run_all=_run_all,
            train_heads=_train_heads,
            settings=RaySettings,
            requires=("ray",),
            extra="ray",
            description="Ray: collectors, learners and heads on any node of a cluster, or in processes of this machine",
        )
    )


@hookimpl
def register_commands(commands: "Commands") -> None:
    commands.add_lazy("sweep", "manyheads_ray.sweep:sweep", "tasks x seeds x settings on a Ray cluster, compared")


def _run(
    folder: "WorldFolder",
    tasks: Sequence["Task"],
    steps: int,
    progress: Any,
    metrics: Any,
    settings: Any,
    monitoring: Any = None,
) -> None:
    from manyheads_ray.run import run

    run(folder, tasks, steps, progress, metrics, settings, monitoring)


def _train_heads(
    folder: "WorldFolder",
    groups: Sequence[Sequence["Task"]],
    updates: int,
    progress: Any,
    metrics: Any,
    settings: Any,
) -> None:
    from manyheads_ray.heads import train_heads

    train_heads(folder, groups, updates, progress, metrics, settings)


def _run_all(jobs: Sequence[Any], progress: Any, settings: Any) -> dict[str, str]:
    from manyheads_ray.jobs import run_all

    return run_all(jobs, progress, settings)
