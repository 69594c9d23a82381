"""Tables on a terminal, and in full width where the output is piped."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text


def table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints rows of equal keys, the first column whole, columns without a value in any row left out."""
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    grid = Table(box=SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(columns):
        grid.add_column(name, no_wrap=i == 0, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(_cell(row[name])) for name in columns))
    Console(width=None if sys.stdout.isatty() else 200).print(grid)


def _cell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
