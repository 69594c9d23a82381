"""Loggers of two services: Weights & Biases and MLflow, online, or offline in the world's folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from manyheads.hookspecs import hookimpl
from manyheads.loggers import Logger, LoggerKind


class WandbSettings(BaseModel):
    """What `wandb.init` is told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    project: str = "manyheads"
    entity: str | None = None
    mode: Literal["online", "offline"] | None = None
    """None: as the environment variable WANDB_MODE says, else online"""


class MlflowSettings(BaseModel):
    """Where runs are recorded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    experiment: str = "manyheads"
    uri: str | None = None
    """of the tracking server; None: as the environment variable MLFLOW_TRACKING_URI says, else WORLD/mlflow.db"""


@hookimpl
def register_loggers(register: Callable[[LoggerKind], None]) -> None:
    register(
        LoggerKind(
            name="loggers/wandb",
            open=_wandb,
            settings=WandbSettings,
            requires=("wandb",),
            extra="wandb",
            description="Weights & Biases; offline runs lie in WORLD/wandb",
        )
    )
    register(
        LoggerKind(
            name="loggers/mlflow",
            open=_mlflow,
            settings=MlflowSettings,
            requires=("mlflow", "sqlalchemy", "alembic"),
            extra="mlflow",
            description="MLflow; without a tracking server runs lie in WORLD/mlflow.db",
        )
    )


def _wandb(world: Path, config: Mapping[str, Any], settings: Any) -> Logger:
    from manyheads_loggers.weights_and_biases import WeightsAndBiases

    return WeightsAndBiases(world, config, settings)


def _mlflow(world: Path, config: Mapping[str, Any], settings: Any) -> Logger:
    from manyheads_loggers.tracking import Tracking

    return Tracking(world, config, settings)
