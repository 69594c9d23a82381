"""Signals that leave the range that was declared of them, said once each while a world is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from manyheads.environment.contract import Instance

SOFT = 0.5
"""by what share of its width a soft range may be passed"""
SLACK = 1e-6


class RangeWatch:
    """Remembers which signals were said already."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()

    def look(self, instance: Instance, signals: Mapping[str, npt.NDArray[np.float64]]) -> Iterator[str]:
        """A sentence for each signal of an episode (T,) that is outside its range for the first time."""
        name = instance.environment.name
        for signal in instance.signals:
            if (name, signal.name) in self._said or (signal.low is None and signal.high is None):
                continue
            low = -np.inf if signal.low is None else signal.low
            high = np.inf if signal.high is None else signal.high
            slack = SOFT * (high - low) if signal.soft and np.isfinite(high - low) else SLACK
            least, most = float(signals[signal.name].min()), float(signals[signal.name].max())
            if least < low - slack or most > high + slack:
                self._said.add((name, signal.name))
                value = least if least < low - slack else most
                yield (
                    f"{name}: the signal {signal.name} was {value:.6g}, outside its declared range "
                    f"[{signal.low}, {signal.high}]. Rewards and goals rely on that range: declare what it keeps to."
                )
