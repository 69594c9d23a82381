"""Vectors that are declared number by number, `velocity[0]` and `velocity[1]`: a pace without a direction is theirs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from manyheads.environment.contract import Signal
from manyheads_glam.amounts import QUANTILES, MeasuredRange
from manyheads_glam.understanding import Understood

MOST = 6
"""operands of a norm"""


def components(one: Understood, signals: Sequence[Signal]) -> tuple[str, ...]:
    """The signals whose common length is meant: of a whole vector where no direction is said, else the one signal."""
    signal = one.reading.signal
    vector = re.fullmatch(r"(.+)\[\d+\]", signal.name)
    if vector is None or one.reading.role not in ("speed", "turning") or one.wanted.sign or one.aspect.where:
        return (signal.name,)
    parts = [each for each in signals if re.fullmatch(re.escape(vector[1]) + r"\[\d+\]", each.name)]
    alike = all((each.unit, each.kind) == (signal.unit, signal.kind) for each in parts)
    return tuple(each.name for each in parts) if alike and len(parts) <= MOST else (signal.name,)


def measured_length(parts: Sequence[str], measured: Mapping[str, MeasuredRange]) -> MeasuredRange | None:
    """What was measured of a signal, or of the length of a vector of several."""
    found = [measured[name] for name in parts if name in measured]
    if len(found) < len(parts) or len(parts) == 1:
        return measured.get(parts[0])
    quantiles = {
        high: math.hypot(*(max(abs(each.quantiles[low]), abs(each.quantiles[high])) for each in found))
        if high > 0.5
        else 0.0
        for low, high in zip(reversed(QUANTILES), QUANTILES, strict=True)
    }
    return MeasuredRange(quantiles, math.hypot(*(each.size for each in found)))
