"""A reward specification along recorded episodes, term by term, as a picture file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from manyheads import atomic
from manyheads.errors import ManyheadsError
from manyheads.report.svg import SERIES, STYLE

FORMATS = (".png", ".svg")


def reward_plot(
    path: Path, curves: Mapping[str, NDArray[np.floating]], episodes: Sequence[slice], names: Sequence[str]
) -> None:
    """Draws each curve (T,), a row of panels, over each episode, a column; values lie in [0, 1]."""
    if path.suffix not in FORMATS:
        raise ManyheadsError(f"{path}: the picture's name must end with {' or '.join(FORMATS)}.")
    with rc_context({**STYLE, "axes.titlesize": 8.5}):
        size = (3.4 * len(episodes) + 1, 1.15 * len(curves) + 0.7)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(curves), len(episodes), sharex="col", sharey=True, squeeze=False)
        for i, (title, values) in enumerate(curves.items()):
            for j, rows in enumerate(episodes):
                panel = panels[i][j]
                panel.plot(values[rows], color=SERIES[i % len(SERIES)], linewidth=1.2)
                panel.set_ylim(-0.05, 1.05)
                panel.set_title(title if j == 0 else "")
        for j, name in enumerate(names):
            panels[-1][j].set_xlabel(f"step of {name}")
        atomic.write(path, lambda part: figure.savefig(part, format=path.suffix[1:], dpi=120))
