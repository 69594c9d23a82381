"""The report of a world: one HTML file that needs nothing else."""

from __future__ import annotations

from datetime import datetime
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from manyheads import atomic
from manyheads.report import plots
from manyheads.report.contents import Contents
from manyheads.report.progress import duration
from manyheads.report.text import formatted
from manyheads.storage.evaluations import Interval

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


def write_report(contents: Contents, out: Path | None = None) -> Path:
    """Writes the report of a world to `out`, by default `<world>/report.html`; returns where it lies."""
    path = contents.folder.path / "report.html" if out is None else out
    atomic.write_text(path, render(contents))
    return path


def render(contents: Contents) -> str:
    """The page as text."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "interval": interval, "share": share, "counted": counted}
    template = environment.from_string(files("manyheads.report").joinpath("page.html").read_text("utf-8"))
    series = contents.series
    owners = ["world", *(head.task.name for head in contents.heads)]
    return template.render(
        page=contents,
        name=contents.folder.path.resolve().name,
        made=f"{datetime.now():%d %B %Y, %H:%M}",
        work=duration(contents.seconds),
        returns=Markup(plots.learning_curves(series)),
        simulator=Markup(plots.learning_curves(series, "simulator")),
        imagined=Markup(plots.learning_curves(series, "imagined_return", along=("updates", "minutes of work"))),
        results=Markup(plots.evaluations(contents.evaluations)),
        numbers={owner: Markup(plots.small_multiples(series, owner)) for owner in owners},
        safe=Markup,
    )


def number(value: float | None) -> str:
    """Four digits that count: `812.3`, `0.04512`, `1,204`; a dash for None."""
    if value is None:
        return DASH
    if abs(value) >= 1000:
        return _minus(f"{value:,.0f}")
    return _minus(formatted(value, ".4g"))


def interval(returns: Interval) -> str:
    """`812 [790, 834]`, with as many decimals as the largest of the three needs: `1e-06 [0, 2e-06]`; `812` alone where
    one episode was played."""
    if returns.low is None or returns.high is None:
        return number(returns.mean)
    values = (returns.mean, returns.low, returns.high)
    largest = max(map(abs, values))
    places = 0 if largest >= 100 else 1 if largest >= 10 else 2
    mean, low, high = (_minus(formatted(value, f",.{places}f" if largest >= 0.1 else ".2g")) for value in values)
    return f"{mean} [{low}, {high}]"


def counted(number: int, thing: str) -> str:
    """`1 head`, `3 heads`"""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def share(value: float | None) -> str:
    """`43%`, `0.3%`, `under 0.1%`; a dash for None."""
    if value is None:
        return DASH
    if 0 < value < 0.001:
        return "under 0.1%"
    return f"{value:.1%}" if 0 < value < 0.1 else f"{value:.0%}"


def _minus(text: str) -> str:
    return text.replace("-", MINUS)
