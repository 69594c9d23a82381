"""Figures as SVG text. Colours are CSS variables with light fallbacks, so that a page can turn them dark."""

from __future__ import annotations

import io
import re
from html import escape
from typing import Any

from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2329", "#6b7280", "#e3e5e9"
SERIES = ("#0b6fb3", "#c8560a", "#0a8a63", "#a34a8a", "#8a6d00", "#4b4fb8")
"""Distinct in lightness as well as in hue, after Okabe and Ito."""
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid"} | {
    colour: f"--series-{i}" for i, colour in enumerate(SERIES, start=1)
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "manyheads",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": f"cycler('color', {list(SERIES)})",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


def svg(figure: Figure, description: str) -> str:
    """The figure as one `<svg>` element that scales, takes the page's colours and `says` what it shows."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[a-zA-Z0-9.]+_\d+"', "", text)
    text = re.sub(r' width="[^"]*"', "", text, count=1)
    attributes = f' role="img" aria-label="{escape(description)}"'
    text = re.sub(r' height="[^"]*"', lambda _: attributes, text, count=1)
    for colour, name in VARIABLES.items():
        text = text.replace(colour, f"var({name}, {colour})")
    return text
