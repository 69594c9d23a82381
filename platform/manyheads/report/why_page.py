"""The drawing of `manyheads why`: rewards along an episode, real and imagined, next to what the gap is made of."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from manyheads import atomic
from manyheads.report.page import number
from manyheads.report.svg import INK, MUTED, SERIES, STYLE, svg
from manyheads.report.why import Gap

LINES = {
    "real": ("really earned", INK, "-"),
    "true states": ("predicted in the true states", SERIES[0], "-"),
    "real actions": ("imagined under the real actions", SERIES[2], "--"),
    "own actions": ("imagined, acting there, too", SERIES[1], "--"),
}
ADVICE = {
    "model": "The world model goes astray under the same actions: train it further with `manyheads train`.",
    "reward": "The reward is misjudged in states that were really seen: fine-tune the head longer.",
    "policy": "The head acts otherwise in imagination than in the simulator: collect with it, `--steps`.",
}
AGREES = (
    "Predicted and real return agree: the head earns what it expects. Where that is too little, it has not found "
    "better behaviour: train it longer, or let it explore (`manyheads finetune`, `--updates`, `--explore`)."
)
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>:root{{color-scheme:light dark}}body{{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;
padding:0 1rem}}td{{padding:.1rem 1rem .1rem 0}}td+td{{text-align:right;font-variant-numeric:tabular-nums}}
@media(prefers-color-scheme:dark){{:root{{--ink:#e8eaed;--muted:#9aa3af;--grid:#343a44}}}}svg{{width:100%}}</style>
<h1>{title}</h1><p>{summary}</p>{figure}<table>{rows}</table><p>{advice}</p></html>
"""


def draw(gap: Gap) -> str:
    """SVG: rewards summed up along the episode, and the way from the real return to the predicted one."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        curves, parts = figure.subplots(1, 2, width_ratios=(3, 2))
        for line, (label, colour, style) in LINES.items():
            curves.plot(np.cumsum(gap.rewards[line]), color=colour, linestyle=style, label=label)
        curves.set_title("reward so far")
        curves.set_xlabel("step of the episode")
        curves.legend(fontsize=8)
        _waterfall(parts, gap)
        return svg(figure, f"{gap.task}: predicted {gap.predicted:.4g}, real {gap.real:.4g}, and what lies between")


def write(path: Path, gap: Gap) -> None:
    """The drawing alone (`.svg`), or a page with the numbers (`.html`)."""
    figure = draw(gap)
    if path.suffix == ".svg":
        atomic.write_text(path, figure)
        return
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{value}</td></tr>" for name, value in table(gap))
    summary = f"One episode of {gap.steps} steps, seed {gap.seed}, played and then imagined from its first state on."
    text = {"title": escape(gap.task), "summary": summary, "figure": figure, "rows": rows}
    atomic.write_text(path, PAGE.format(**text, advice=escape(advice(gap))))


def advice(gap: Gap) -> str:
    """What to do about the largest part."""
    return AGREES if gap.agrees else ADVICE[gap.largest]


def table(gap: Gap) -> list[tuple[str, str]]:
    """The numbers with their names."""
    signed = {part: f"{'+' if value > 0 else ''}{number(value)}" for part, value in gap.parts.items()}
    return [
        ("predicted return", number(gap.predicted)),
        ("real return", number(gap.real)),
        *((f"  {part} error", value) for part, value in signed.items()),
    ]


def _waterfall(axes: Axes, gap: Gap) -> None:
    height = gap.real
    axes.bar(0, gap.real, color=INK, width=0.6)
    for place, part in enumerate(("reward", "model", "policy"), start=1):
        change = gap.parts[part]
        axes.bar(place, change, bottom=height, color=SERIES[0] if change < 0 else SERIES[1], width=0.6)
        axes.annotate(f"{change:+.3g}", (place, height + max(change, 0)), ha="center", va="bottom", color=MUTED)
        height += change
    axes.bar(4, gap.predicted, color=SERIES[1], width=0.6, alpha=0.6)
    axes.set_xticks(range(5), ["real", "reward\nerror", "model\nerror", "policy\nerror", "predicted"])
    axes.set_title("from the real return to the predicted one")
    axes.grid(axis="x", visible=False)
