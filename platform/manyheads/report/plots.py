"""What a world learned and what it earns, as plots in SVG text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from manyheads.report.metrics import Series, thinned
from manyheads.report.svg import INK, MUTED, SERIES, STYLE, svg
from manyheads.storage.evaluations import Evaluation

WIDTH, COLUMNS = 8.6, 4


AXES: dict[str, Callable[[Series], Sequence[float]]] = {
    "environment steps": lambda one: one.step,
    "updates": lambda one: one.updates,
    "minutes of work": lambda one: [seconds / 60 for seconds in one.time],
}


def learning_curves(
    series: Mapping[str, Series],
    measure: str = "return",
    along: Sequence[str] = ("environment steps", "minutes of work"),
) -> str:
    """Each task's `<task>/<measure>` in a panel for each axis `along` which it moves; empty text without any.

    Dots are single values, the line is their running mean.
    """
    ending = f"/{measure}"
    curves = {
        name.removesuffix(ending): thinned(one) for name, one in series.items() if name.endswith(ending) and one.value
    }
    axes = [axis for axis in along if any(_spans(AXES[axis](one)) for one in curves.values())]
    if not axes:
        return ""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
        panels = figure.subplots(1, len(axes), sharey=True, squeeze=False)[0]
        for panel, axis in zip(panels, axes, strict=True):
            for number, (name, one) in enumerate(curves.items()):
                at, colour = AXES[axis](one), SERIES[number % len(SERIES)]
                panel.plot(at, one.value, ".", markersize=4, markeredgewidth=0, color=colour, alpha=0.4)
                panel.plot(at, running_mean(one.value), color=colour, label=name)
            panel.set_xlabel(axis)
            panel.set_xlim(left=0)
            if axis != "minutes of work":
                panel.xaxis.set_major_formatter(EngFormatter(sep=""))
            panel.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        panels[0].set_ylabel(measure.replace("_", " "))
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=min(len(names), 3), labelcolor=INK)
        return svg(figure, f"{measure} of {', '.join(curves)} while training")


def small_multiples(series: Mapping[str, Series], owner: str) -> str:
    """Every number `<owner>/<number>` in a small panel against updates; empty text without any."""
    start = f"{owner}/"
    numbers = {
        name.removeprefix(start): thinned(one, 200)
        for name, one in series.items()
        if name.startswith(start) and len(one.value) > 1
    }
    if not numbers:
        return ""
    rows = -(-len(numbers) // COLUMNS)
    with rc_context(STYLE | {"font.size": 7.5, "axes.titlesize": 8, "lines.linewidth": 1.2}):
        figure = Figure(figsize=(WIDTH, 1.35 * rows + 0.1), layout="constrained")
        panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for panel in panels[len(numbers) :]:
            panel.set_axis_off()
        for panel, (name, one) in zip(panels, numbers.items(), strict=False):
            panel.plot(one.updates, one.value, color=SERIES[0], alpha=0.25, linewidth=0.8)
            panel.plot(one.updates, running_mean(one.value), color=SERIES[0])
            panel.set_title(name.replace("_", " "))
            panel.xaxis.set_major_formatter(EngFormatter(sep=""))
            panel.yaxis.set_major_formatter(EngFormatter(sep="", places=None))
            panel.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
            panel.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
        return svg(figure, f"{owner}: {', '.join(numbers)} against updates")


def reward_along_episodes(rewards: Sequence[npt.NDArray[Any]]) -> str:
    """What a reward source pays at each step: a line (T,) an episode, older ones paler."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.5), layout="constrained")
        axes = figure.subplots()
        for number, reward in enumerate(rewards, start=1):
            newness = number / len(rewards)
            axes.plot(reward, color=SERIES[0], alpha=0.15 + 0.75 * newness**2, linewidth=0.8 + 0.8 * newness)
        axes.set_xlabel("step of the episode")
        axes.set_ylabel("reward a step")
        axes.set_ylim(-0.03, max(1.03, *(float(np.max(reward, initial=0)) for reward in rewards)) if rewards else 1)
        axes.set_xlim(left=0)
        return svg(figure, f"reward along {len(rewards)} recorded episodes")


def evaluations(results: Sequence[Evaluation]) -> str:
    """Mean return of each policy with its interval, a panel a task: the task's head over a random policy.

    Pale dots are single episodes.
    """
    tasks = list(dict.fromkeys(result.task for result in results))
    if not tasks:
        return ""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.95 * len(tasks) + 0.45), layout="constrained")
        panels = figure.subplots(len(tasks), 1, squeeze=False)[:, 0]
        for panel, task in zip(panels, tasks, strict=True):
            for height, policy, colour in ((0, "random", MUTED), (1, "head", SERIES[0])):
                for result in (r for r in results if r.task == task and r.policy == policy):
                    _interval(panel, height, result, colour)
            panel.set_title(task)
            panel.set_yticks([0, 1], ["random", "head"])
            panel.set_ylim(-0.6, 1.6)
            panel.grid(axis="y", visible=False)
            panel.tick_params(axis="y", length=0)
            panel.margins(x=0.03)
        panels[-1].set_xlabel("return of an episode under the task's own reward")
        return svg(figure, f"returns of heads and of a random policy on {', '.join(tasks)}")


def histogram(values: npt.NDArray[Any], bars: int = 40) -> str:
    """How often a signal took which values (N,), lowest to highest, as a picture for a table's cell."""
    counts, _ = np.histogram(values, bins=bars)
    heights = counts / max(int(counts.max()), 1) * 20
    path = "".join(f"M{at * 3} 21v-{height:.1f}h2v{height:.1f}z" for at, height in enumerate(heights) if height)
    says = "how often it took which value"
    return (
        f'<svg class="bars" viewBox="0 0 {bars * 3} 22" role="img" aria-label="{says}">'
        f'<path d="{path}" fill="var(--series-1)"/>'
        f'<path d="M0 21.5h{bars * 3}" stroke="var(--grid)"/></svg>'
    )


def running_mean(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Mean over a centred window of a tenth of the values, cut off at the ends."""
    array = np.asarray(values, dtype=np.float64)
    half = len(array) // 20
    sums = np.concatenate([[0.0], np.cumsum(array)])
    at = np.arange(len(array))
    start, end = np.maximum(at - half, 0), np.minimum(at + half + 1, len(array))
    means: npt.NDArray[np.float64] = (sums[end] - sums[start]) / (end - start)
    return means


def _interval(panel: Axes, height: int, result: Evaluation, colour: str) -> None:
    single = [episode.return_task for episode in result.episodes]
    panel.plot(single, [height] * len(single), "o", color=colour, alpha=0.25, markersize=4, markeredgewidth=0)
    returns = result.returns
    if returns.low is not None and returns.high is not None:
        panel.plot([returns.low, returns.high], [height, height], color=colour, linewidth=2.4)
    panel.plot([returns.mean], [height], "o", color=colour, markersize=7)


def _spans(values: Sequence[float]) -> bool:
    return len(values) > 1 and max(values) - min(values) > 0.01 * max(values)
