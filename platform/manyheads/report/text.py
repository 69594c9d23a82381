"""What others wrote, and numbers, as text that a terminal or a page may show."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manyheads.storage.evaluations import Interval

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\)"  # titles, links, device strings
    r"|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]",
    re.DOTALL,
)


def plain(text: object) -> str:
    """Text of a plugin, a task file or an error without sequences that a terminal would obey."""
    return _ESCAPES.sub("", str(text))


def formatted(value: float, form: str) -> str:
    """`format(value, form)`, without the sign where only zeros are left of a negative number."""
    text = format(value, form)
    return text if re.search("[1-9a-z]", text) else text.lstrip("-")


def number(value: float) -> str:
    """One decimal, more where the number is small: `812.3`, `0.045`, `1e-06`; never `-0.0`."""
    small = 0 < abs(value) < 0.1
    return formatted(value, ".2g" if small else ",.1f")


def mean_and_interval(found: Interval) -> str:
    """`12.1 [10.3, 14.0]`, or the mean alone where there is no interval."""
    if found.low is None or found.high is None:
        return number(found.mean)
    return f"{number(found.mean)} [{number(found.low)}, {number(found.high)}]"
