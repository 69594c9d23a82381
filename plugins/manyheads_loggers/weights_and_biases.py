"""The logger `loggers/wandb`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wandb

if TYPE_CHECKING:
    from manyheads_loggers import WandbSettings


class WeightsAndBiases:
    """A run for each start of a command, grouped by the world's name.

    `updates` and `step` are logged with every number and are the axes: counts continue where training does.
    """

    def __init__(self, world: Path, config: Mapping[str, Any], settings: WandbSettings) -> None:
        self.run = wandb.init(
            project=settings.project,
            entity=settings.entity,
            mode=settings.mode,
            dir=str(world),
            group=world.resolve().name,
            config=dict(config),
            settings=wandb.Settings(silent=True),
        )
        self.run.define_metric("*", step_metric="updates")

    def write(self, step: int, updates: int, numbers: Mapping[str, float]) -> None:
        self.run.log({**numbers, "step": step, "updates": updates})

    def close(self) -> None:
        self.run.finish()
