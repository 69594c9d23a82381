"""An expression of the reward grammar along one recorded episode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyheads.rewards.nodes import Expression


def along(x: Expression, episode: Mapping[str, NDArray[np.float64]], step_seconds: float | None) -> NDArray[np.float64]:
    """Its value (T,) in each row; `episode` has each signal (T,) by name."""
    import torch

    from manyheads.rewards import compile as rows
    from manyheads.rewards.memory import Run, remember
    from manyheads.rewards.nodes import memory_nodes
    from manyheads.rewards.spec import width

    known: dict[str, Any] = {name: torch.as_tensor(column)[:, None] for name, column in episode.items()}
    length = len(next(iter(episode.values())))
    first = torch.zeros(length, 1, dtype=torch.bool)
    first[0] = True
    run = Run(first, first.clone(), step_seconds)
    for inner in memory_nodes(x):
        remember(inner, known, run, torch.zeros(1, width(inner)))
    found: NDArray[np.float64] = rows.value(x, known).expand(length, 1)[:, 0].numpy()
    return found
