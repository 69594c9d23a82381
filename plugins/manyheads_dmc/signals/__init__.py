"""The reviewed table of signals for each domain: one module a domain, one function of the task in each."""

from collections.abc import Callable

from manyheads_dmc.measures import Measure
from manyheads_dmc.signals import (
    cartpole,
)

TABLES: dict[str, Callable[[str], list[Measure]]] = {
    "cartpole": cartpole.table,
}
