"""Data sets as environments that can't be stepped: `minari/data`, for worlds trained on recorded episodes alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from manyheads import Environment, Options, Signal, hookimpl

if TYPE_CHECKING:
    from manyheads_minari.recorded import RecordedData


class DataOptions(Options):
    """What is known of a data set without it: the spaces of its rows, as `manyheads import` writes them."""

    dataset: str
    """its name"""
    observation: dict[str, Any]
    action: dict[str, Any]


def _make(options: DataOptions) -> RecordedData:
    from manyheads_minari.recorded import RecordedData

    return RecordedData(options.dataset, options.observation, options.action)


def _signals(options: DataOptions) -> tuple[Signal, ...]:
    from manyheads_minari.recorded import signals

    return signals(options.observation, options.action)


@hookimpl
def register_environments(register: Callable[[Environment], None]) -> None:
    register(
        Environment(
            name="minari/data",
            factory=_make,
            signals=_signals,
            options=DataOptions,
            description="a data set's recorded episodes; `manyheads import` writes its options, nothing can be stepped",
        )
    )
