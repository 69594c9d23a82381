"""Tables on a terminal, and in full width where the output is piped; what commands print in other ways."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from manyheads.report.text import plain


def table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints rows of equal keys, the first column whole, columns without a value in any row left out."""
    columns = [name for name in rows[0] if any(row[name] not in ("", None, [], ()) for row in rows)]
    grid = Table(box=SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(columns):
        grid.add_column(name, no_wrap=i == 0, overflow="fold")
    for row in rows:
        grid.add_row(*(text(_cell(row[name])) for name in columns))
    Console(width=None if sys.stdout.isatty() else 200).print(grid)


def text(foreign: object, style: str = "") -> Text:
    """What a plugin, a task file or an error says, for rich: as it is written, without markup and terminal escapes."""
    return Text(plain(foreign), style)


@contextmanager
def stdout_for_results() -> Iterator[None]:
    """Whatever is printed inside, by Python or by a library in C, goes to stderr: stdout holds the result alone."""
    sys.stdout.flush()
    kept = os.dup(1)
    with suppress(OSError):
        os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _cell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
