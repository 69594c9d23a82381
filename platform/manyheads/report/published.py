"""A run compared with published scores, and drawn over their band.

A score is the mean return of training episodes in the last `window` environment steps before a mark; the band is the
lowest and highest of the published seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from manyheads.errors import unknown
from manyheads.registry import registry
from manyheads.report.metrics import Series
from manyheads.suites import Suite, read_suite


@dataclass(frozen=True)
class Band:
    """What was published at one mark."""

    mark: int
    """environment steps, repeated actions counted"""
    mean: float
    low: float
    high: float
    seeds: int

    def place(self, score: float) -> str:
        """`above`, `inside` or `below`."""
        return "above" if score > self.high else "below" if score < self.low else "inside"


@dataclass(frozen=True)
class Comparison:
    """Our score at a published mark."""

    band: Band
    score: float
    episodes: int

    @property
    def place(self) -> str:
        return self.band.place(self.score)


def load_suite(name: str) -> Suite:
    """A registered suite by its name."""
    return read_suite(name, registry().suites[name])


def suite_of(task: str) -> Suite:
    """The first suite by name with a published score of this task; raises ManyheadsError without any."""
    suites = [load_suite(name) for name in registry().suites]
    found = next((suite for suite in suites if task in suite.scores), None)
    if found is None:
        raise unknown("task with a published score", task, {name for suite in suites for name in suite.scores})
    return found


def bands(task: str, suite: Suite) -> list[Band]:
    """The published marks of a task; raises ManyheadsError for a task without any."""
    return [Band(mark, score.mean, score.low, score.high, score.seeds) for mark, score in suite.of(task).items()]


def compare(returns: Series, rows: int, repeat: int, task: str, suite: Suite) -> list[Comparison]:
    """Our score at every mark that a run of so many rows has reached; `returns` are of training episodes, at rows."""
    found, window = bands(task, suite), suite.window
    steps, values = np.array(returns.step) * repeat, np.array(returns.value)
    comparisons = []
    for band in found:
        inside = (steps > band.mark - window) & (steps <= band.mark)
        if rows * repeat >= band.mark and inside.any():
            comparisons.append(Comparison(band, float(values[inside].mean()), int(inside.sum())))
    return comparisons


def stuck(returns: Series, rows: int, repeat: int, task: str, suite: Suite) -> Comparison | None:
    """The score so far of a run on its way to the first mark, if it is no better than that of its first episodes and
    below a straight line to the band's low end; the band in it is where the line is."""
    found, window = bands(task, suite), suite.window
    first, at = found[0], rows * repeat
    steps, values = np.array(returns.step) * repeat, np.array(returns.value)
    begun, now = values[steps <= window], values[(steps > max(window, at - window)) & (steps <= at)]
    if at >= first.mark or not (begun.size and now.size) or now.mean() > begun.mean():
        return None
    share = at / first.mark
    line = Band(at, share * first.mean, share * first.low, share * first.high, first.seeds)
    return Comparison(line, float(now.mean()), int(now.size)) if now.mean() < line.low else None


def draw(returns: Series, repeat: int, task: str, suite: Suite) -> Figure:
    """The run's episodes and their running mean over the published band."""
    found, window = bands(task, suite), suite.window
    steps, values = np.array(returns.step) * repeat, np.array(returns.value)
    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    panel = figure.add_subplot()
    reach = max(2 * int(steps[-1]) if steps.size else 0, found[0].mark)
    shown = [band for band in found if band.mark <= reach] or found[:1]
    marks = [0, *(band.mark for band in shown)]
    panel.fill_between(
        marks, [0, *(b.low for b in shown)], [0, *(b.high for b in shown)], alpha=0.2, label="published, all seeds"
    )
    panel.plot(marks, [0, *(band.mean for band in shown)], "--", label="published, mean")
    if steps.size:
        panel.plot(steps, values, ".", alpha=0.25, color="tab:orange")
        running = [values[(steps > at - window) & (steps <= at)].mean() for at in steps]
        panel.plot(steps, running, color="tab:orange", label=f"this run, mean of the last {window:,} steps")
    panel.set(xlabel="environment steps", ylabel="return of training episodes", title=f"{task} ({suite.name})")
    panel.legend(loc="upper left", frameon=False)
    return figure
