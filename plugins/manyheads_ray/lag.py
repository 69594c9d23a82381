"""How old the weights that acted are when their rows are stored, counted in updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from manyheads_ray import RaySettings

if TYPE_CHECKING:
    from manyheads.settings import TrainingSettings


@dataclass
class Lag:
    """The lag of every block so far."""

    blocks: int = 0
    total: int = 0
    most: int = 0
    newest: int = 0

    def count(self, updates: int) -> None:
        """A block came in after so many updates."""
        self.blocks += 1
        self.total += updates
        self.newest = updates
        self.most = max(self.most, updates)

    def numbers(self) -> dict[str, float]:
        """To be shown and written."""
        return {"collectors/lag": float(self.newest), "collectors/lag_max": float(self.most)}

    def __str__(self) -> str:
        mean = self.total / max(self.blocks, 1)
        return f"Weights that acted were {mean:.1f} updates old when their rows were stored, {self.most} at most."


def chunk_steps(settings: RaySettings, training: TrainingSettings, ahead: int) -> int:
    """Steps of each environment in a block: few enough that a round of all collectors' blocks, `ahead` of each, is
    learned from within half of the largest lag."""
    updates_a_step = training.num_envs * training.train_ratio / (training.batch_size * training.batch_length)
    return max(1, min(settings.chunk_steps, int(settings.max_lag / (2 * ahead * updates_a_step))))
