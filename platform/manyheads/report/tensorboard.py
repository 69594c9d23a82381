"""The logger `tensorboard`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter


class TensorBoard:
    """Writes into `<world>/tensorboard`. The step axis is updates: imagination takes no environment steps."""

    def __init__(self, world: Path, config: Mapping[str, Any], settings: Any) -> None:
        self.writer = SummaryWriter(str(world / "tensorboard"))

    def write(self, step: int, updates: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, updates)

    def close(self) -> None:
        self.writer.close()
