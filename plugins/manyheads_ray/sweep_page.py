"""What a sweep found: a row for each task and variant, and a page of curves with bands over seeds."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from manyheads import atomic
from manyheads.training import read, rows_of

BINS = 40
"""points of a curve"""
LAST = 0.1
"""share of a run, at its end, whose episodes' mean is its score"""
STYLE = (
    "body{font:15px system-ui;margin:2em auto;max-width:60em;padding:0 1em}td,th{padding:.2em .8em;text-align:right}"
)
STYLE += "td:first-child,td:nth-child(2),th:first-child{text-align:left}svg{max-width:100%;height:auto}"


@dataclass(frozen=True)
class Cell:
    """One world of a sweep."""

    task: str
    settings: str
    seed: int
    world: Path

    @property
    def label(self) -> str:
        """What tells it from the others."""
        return " ".join(part for part in (self.task, self.settings, f"seed {self.seed}") if part)


def read_cells(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """A row for each task and variant: the mean over seeds of the return at the end, the lowest and the highest seed,
    and the curve (steps, mean, lowest, highest) of training episodes' returns."""
    kinds: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        kinds.setdefault((cell.task, cell.settings), []).append(cell)
    rows = []
    for (task, settings), own in kinds.items():
        found = [(cell, *_returns(cell)) for cell in own]
        played = [(cell, steps, values) for cell, steps, values in found if len(steps)]
        reach = max((rows_of(cell.world) for cell in own), default=0)
        scores = [float(values[steps > (1 - LAST) * steps[-1]].mean()) for _, steps, values in played]
        rows.append(
            {
                "task": task,
                "settings": settings,
                "seeds": [cell.seed for cell, _, _ in played],
                "rows": min((rows_of(cell.world) for cell in own), default=0),
                "return": float(np.mean(scores)) if scores else None,
                "lowest": min(scores, default=None),
                "highest": max(scores, default=None),
                "scores": scores,
                "curve": _curve([(steps, values) for _, steps, values in played], reach),
            }
        )
    return rows


def write_page(folder: Path, table: Sequence[dict[str, Any]]) -> None:
    """Writes `sweep.json` and `sweep.html`, which needs no other file."""
    atomic.write_json(folder / "sweep.json", [*table])
    lines = []
    for row in table:
        numbers = ["—" if row[key] is None else f"{row[key]:.4g}" for key in ("return", "lowest", "highest")]
        columns = [row["task"], row["settings"] or "as given", str(len(row["seeds"])), f"{row['rows']:,}", *numbers]
        lines.append("<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in columns) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("task", "settings", "seeds", "rows", "return", "lowest", "highest"))
    page = (
        f"<!doctype html><meta charset=utf-8><title>Sweep</title><style>{STYLE}</style><h1>Sweep</h1>"
        f"<p>Return of training episodes in the last tenth of each run: mean over seeds, lowest and highest seed.</p>"
        f"<table><tr>{head}</tr>{''.join(lines)}</table>{_figures(table)}"
    )
    atomic.write_text(folder / "sweep.html", page)


def _returns(cell: Cell) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Rows at which episodes ended, and their returns."""
    series = read(cell.world).get(f"{cell.task}/return")
    if series is None:
        return np.zeros(0, np.int64), np.zeros(0)
    return np.array(series.step), np.array(series.value)


def _curve(runs: Sequence[tuple[Any, Any]], reach: int) -> dict[str, list[float]]:
    """Means of each run in equal stretches of steps; where a run has no episode, its value before holds."""
    edges = np.linspace(0, max(reach, 1), BINS + 1)
    binned = np.full((len(runs), BINS), np.nan)
    for at, (steps, values) in enumerate(runs):
        place = np.clip(np.searchsorted(edges, steps, side="left") - 1, 0, BINS - 1)
        for b in range(BINS):
            inside = values[place == b]
            binned[at, b] = inside.mean() if inside.size else binned[at, b - 1] if b else np.nan
    known = ~np.isnan(binned).all(0) if len(runs) else np.zeros(BINS, bool)
    shown = binned[:, known]
    if not known.any():
        return {"steps": [], "mean": [], "lowest": [], "highest": []}
    return {
        "steps": edges[1:][known].tolist(),
        "mean": np.nanmean(shown, axis=0).tolist(),
        "lowest": np.nanmin(shown, axis=0).tolist(),
        "highest": np.nanmax(shown, axis=0).tolist(),
    }


def _figures(table: Sequence[dict[str, Any]]) -> str:
    """A panel for each task."""
    from matplotlib.figure import Figure

    parts = []
    for task in dict.fromkeys(row["task"] for row in table):
        figure = Figure(figsize=(8, 3.6), layout="constrained")
        panel = figure.add_subplot()
        for row in (row for row in table if row["task"] == task):
            curve, label = row["curve"], row["settings"] or "as given"
            [line] = panel.plot(curve["steps"], curve["mean"], label=f"{label} ({len(row['seeds'])} seeds)")
            panel.fill_between(curve["steps"], curve["lowest"], curve["highest"], alpha=0.2, color=line.get_color())
        panel.set(xlabel="rows", ylabel="return of training episodes", title=task)
        panel.legend(frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg")
        parts.append(text.getvalue()[text.getvalue().index("<svg") :])
    return "".join(parts)
