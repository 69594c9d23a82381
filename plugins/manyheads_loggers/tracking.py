"""The logger `loggers/mlflow`."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

if TYPE_CHECKING:
    from manyheads_loggers import MlflowSettings

LONGEST = 500
"""characters of a parameter's value that every tracking server takes"""


class Tracking:
    """A run for each start of a command, named after the world. MLflow's step is updates."""

    def __init__(self, world: Path, config: Mapping[str, Any], settings: MlflowSettings) -> None:
        uri = settings.uri or os.environ.get("MLFLOW_TRACKING_URI")
        artifacts = None if uri else (world / "mlruns").resolve().as_uri()
        self.client = MlflowClient(uri or f"sqlite:///{(world / 'mlflow.db').resolve()}")
        experiment = self.client.get_experiment_by_name(settings.experiment)
        number = experiment and experiment.experiment_id
        number = number or self.client.create_experiment(settings.experiment, artifact_location=artifacts)
        self.run = self.client.create_run(number, run_name=world.resolve().name).info.run_id
        parameters = [Param(name, str(value)[:LONGEST]) for name, value in _flat(config)]
        self.client.log_batch(self.run, params=parameters)

    def write(self, step: int, updates: int, numbers: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        metrics = [Metric(_allowed(name), value, now, updates) for name, value in numbers.items()]
        self.client.log_batch(self.run, metrics=[*metrics, Metric("step", float(step), now, updates)])

    def close(self) -> None:
        self.client.set_terminated(self.run)


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield _allowed(prefix + name), value


def _allowed(name: str) -> str:
    """A name in the characters that MLflow takes."""
    return re.sub(r"[^\w\-. :/]", "_", name)
