"""What stands for a data set's environment: its spaces, and a signal for each number that it observed."""

from __future__ import annotations

from typing import Any

import gymnasium

from manyheads import ManyheadsError, Signal
from manyheads.environment.adapter import RowFormat
from manyheads.environment.space_json import space_from_json

UNBOUNDED = 1e30
"""Bounds of this size or more stand for none."""


class RecordedData(gymnasium.Env[Any, Any]):
    """The spaces of a data set. Resetting or stepping it raises ManyheadsError: there is no simulator."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, dataset: str, observation: dict[str, Any], action: dict[str, Any]) -> None:
        self.dataset = dataset
        self.observation_space, self.action_space = space_from_json(observation), space_from_json(action)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        raise self._nothing_here()

    def step(self, action: Any) -> Any:
        raise self._nothing_here()

    def _nothing_here(self) -> ManyheadsError:
        return ManyheadsError(
            f"{self.dataset} is recorded data, and there is no simulator to step. Train on it with `manyheads train "
            "WORLD TASK --updates N`, and play in the world's imagination (`manyheads.imagined`)."
        )


def signals(observation: dict[str, Any], action: dict[str, Any]) -> tuple[Signal, ...]:
    """A signal for each entry of the observed vector, under the entry's name."""
    row_format = RowFormat(space_from_json(observation), space_from_json(action), "the data set")
    return tuple(
        Signal(name, low=_finite(low), high=_finite(high), soft=True, description=f"the observed {name}, as recorded")
        for name, low, high in zip(row_format.observe.names, *row_format.observe.bounds, strict=True)
    )


def _finite(bound: Any) -> float | None:
    """A bound, where there is one."""
    return float(bound) if abs(bound) < UNBOUNDED else None
