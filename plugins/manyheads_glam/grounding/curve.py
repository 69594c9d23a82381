"""The learning curve of a run of practice, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from manyheads import atomic

PRACTICE = {
    "rank": "practice: agreement",
    "imagined": "practice: heads in imagination",
    "right": "practice: right decisions",
}


def draw(path: Path, curve: Sequence[Mapping[str, float]], warm: int) -> None:
    """Agreement on held-out goals and the two parts of practice's reward, by step; reinforcement begins at `warm`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for name in (*PRACTICE, "held-out environments", "held-out wordings"):
        points = [(row["step"], row[name]) for row in curve if name in row]
        if points:
            faint = name in PRACTICE
            axes.plot(
                *zip(*points, strict=True),
                label=PRACTICE.get(name, name),
                alpha=0.3 if faint else 1.0,
                lw=1 if faint else 2,
            )
    axes.axvline(warm, color="grey", lw=0.8, ls=":")
    axes.set(xlabel="steps", ylabel="agreement with the truth", ylim=(-0.2, 1.02))
    axes.legend(fontsize=8, loc="lower right")
    atomic.write(path, lambda part: figure.savefig(part, format="svg"))
