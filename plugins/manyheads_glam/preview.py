"""Shows a written specification to a person: in plain words, with its reasons and what a world has seen of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from manyheads import Signal
from manyheads.environment.contract import Instance
from manyheads.rewards.describe import describe
from manyheads_glam.amounts import MeasuredRange
from manyheads_glam.experience import Seen
from manyheads_glam.writer import Written

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60


def show(
    console: Console, written: Written, instance: Instance, measured: Mapping[str, MeasuredRange], seen: Seen | None
) -> None:
    """Prints all that a person needs to say yes or no."""
    console.print(f"\n[bold]{escape(written.spec.goal)}[/bold]  ({escape(instance.key)})\n")
    console.print(escape(describe(written.spec, instance.signals)))
    if written.ignored:
        console.print(f"\nNot understood, and left out: {', '.join(map(repr, written.ignored))}")
    for finding in written.findings:
        console.print(escape(f"Warning: {finding}"))
    console.print()
    console.print(_ranges(written, instance, measured))
    console.print(_decisions(written))
    if seen is not None:
        for name, curve in zip(("worst", "middle", "best"), seen.curves, strict=False):
            console.print(f"  reward, {name:6} episode  {sparkline(curve)}  mean {curve.mean():.2f}")
        console.print(f"\n{experience_in_words(seen)}")


def experience_in_words(seen: Seen) -> str:
    """How much of what the world has seen is as the goal asks."""
    c = seen.coverage
    parts = f" (its parts: {', '.join(f'{part:.1%}' for part in seen.parts)})" if len(seen.parts) > 1 else ""
    return (
        f"Of the world's {c.rows} steps {seen.fulfilled:.2%} are as the goal asks{parts}, {c.much:.1%} earn more "
        f"than half; the best 50 steps in a row earn {c.best_stretch:.2f} on average; {c.successes} of {c.episodes} "
        "episodes succeed."
    )


def advice(seen: Seen, world: str, task: str) -> str:
    """What to do where a world has not seen what a goal asks for."""
    return (
        f"This world has hardly seen what the goal asks for: {seen.fulfilled:.2%} of its steps are so, of its rarest "
        f"part {min(seen.parts):.2%}, and its best 50 steps in a row earn {seen.coverage.best_stretch:.2f} on average. "
        f"Imagination alone would be guesswork. Train online instead: `manyheads train {world} --add {task}`."
    )


def sparkline(values: NDArray[np.floating[Any]], width: int = WIDTH) -> str:
    """Values in [0, 1] as a line of blocks, averaged over equal stretches."""
    parts = np.array_split(np.asarray(values, dtype=np.float64), min(width, len(values)))
    return "".join(BARS[min(len(BARS) - 1, int(part.mean() * len(BARS)))] for part in parts)


def _ranges(written: Written, instance: Instance, measured: Mapping[str, MeasuredRange]) -> Table:
    table = Table(title="Ranges", title_justify="left", box=None, pad_edge=False)
    for column in ("signal", "unit", "can be", "has been (1%, 50%, 99%)"):
        table.add_column(column)
    for signal in instance.signals:
        if signal.name in written.spec.signals:
            table.add_row(
                escape(signal.name), signal.unit, escape(_declared(signal)), _measured(measured.get(signal.name))
            )
    return table


def _declared(signal: Signal) -> str:
    low = "…" if signal.low is None else f"{signal.low:.4g}"
    high = "…" if signal.high is None else f"{signal.high:.4g}"
    return f"{low} to {high}"


def _measured(one: MeasuredRange | None) -> str:
    return "-" if one is None else ", ".join(f"{one.quantiles[q]:.3g}" for q in (0.01, 0.5, 0.99))


def _decisions(written: Written) -> Table:
    table = Table(title="\nDecisions", title_justify="left", box=None, pad_edge=False)
    for column in ("about", "question", "answer", "decided by", "margin", "why"):
        table.add_column(column, overflow="fold")
    for one in written.decisions:
        margin = f"{one.margin:.2f}" if one.options else ""
        table.add_row(*map(escape, (one.about, one.question, one.answer, one.step, margin, one.why)))
    return table
