"""One table: every writer and control on the goals of a split."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
from benchmarks.nl2reward.goals import Goal, Split, goals
from benchmarks.nl2reward.rows import ROWS, Recorded, recorded, together
from benchmarks.nl2reward.scores import Score, label, score, summary
from benchmarks.nl2reward.writers import CONTROLS, Writer, writer
from rich.console import Console
from rich.table import Table

from manyheads import ManyheadsError
from manyheads.report.progress import Progress
from manyheads.rewards.describe import summarize
from manyheads_glam.models.settings import EMBEDDED

SHUFFLED = "shuffled"
COLUMNS = ("goals", "valid", "segments", "mean", "steps", "top", "inverted", "seconds")


@dataclass(frozen=True)
class Answer:
    """What a writer made of one sentence."""

    goal: Goal
    sentence: str
    says: str
    """its specification in words, or why it refused"""
    score: Score
    seconds: float
    rewards: npt.NDArray[np.float64] | None

    def record(self) -> dict[str, object]:
        """As plain data."""
        own = {"environment": self.goal.instance.environment.name, "kind": self.goal.kind, "sentence": self.sentence}
        return own | {"says": self.says, **asdict(self.score), "inverted": self.score.inverted}


def answer(who: Writer, goal: Goal, sentence: str, rows: Recorded) -> Answer:
    """Lets a writer write, and judges it on the recorded rows."""
    truth = label(goal.truth(rows.measured), goal.instance, rows)
    start = time.perf_counter()
    try:
        spec = who(sentence, goal, rows.measured)
    except ManyheadsError as error:
        seconds = time.perf_counter() - start
        return Answer(goal, sentence, str(error).splitlines()[0], score(None, truth, rows.is_first), seconds, None)
    seconds = time.perf_counter() - start
    rewards = label(spec, goal.instance, rows)
    says = "stages" if spec.stages else summarize(spec, goal.instance.signals)
    return Answer(goal, sentence, says, score(rewards, truth, rows.is_first), seconds, rewards)


def shuffled(answers: Sequence[Answer], experience: dict[str, Recorded]) -> list[Answer]:
    """Each sentence with what the writer made of another goal of the same simulator."""
    found = []
    for one in answers:
        key = one.goal.instance.dynamics_key
        others = [
            o
            for o in answers
            if o.goal.instance.dynamics_key == key and o.goal is not one.goal and o.rewards is not None
        ]
        if not others:
            continue
        other = others[len(one.sentence) % len(others)]
        rows = experience[key]
        truth = label(one.goal.truth(rows.measured), one.goal.instance, rows)
        judged = score(other.rewards, truth, rows.is_first)
        found.append(Answer(one.goal, one.sentence, other.says, judged, other.seconds, other.rewards))
    return found


@click.command()
@click.argument("models", nargs=-1)
@click.option("--split", type=click.Choice(["tuning", "reported"]), default="reported", show_default=True)
@click.option("--rows", default=ROWS, show_default=True, type=click.IntRange(min=600), help="recorded an environment")
@click.option("--data", type=click.Path(path_type=Path), help="where the rows are kept  [default: the user's cache]")
@click.option("--base-url", metavar="URL", help="where a model's server answers")
@click.option("--controls/--no-controls", default=True, show_default=True)
@click.option("--each", is_flag=True, help="print every sentence too")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
def main(
    models: tuple[str, ...],
    split: Split,
    rows: int,
    data: Path | None,
    base_url: str | None,
    controls: bool,
    each: bool,
    as_json: bool,
) -> None:
    """Let MODELS (default: glam/embedded) and the controls write rewards for the goals of a split, and compare them.

    A model is named as for `manyheads goal --model`; `shuffled` takes what the one before it made of other goals.
    Refused goals count as 0; `inverted` counts specifications that rank stretches against the truth (below -0.2).
    """
    chosen = goals(split)
    if models[:1] == (SHUFFLED,):
        raise click.UsageError("shuffled stands after the writer whose specifications are shuffled.")
    names = [*(CONTROLS if controls else ()), *(models or (EMBEDDED,)), *((SHUFFLED,) if controls else ())]
    experience: dict[str, Recorded] = {}
    groups = together(goal.instance for goal in chosen)
    with Progress(len(groups), "recording", unit="simulators") as progress:
        for key, instances in groups.items():
            experience[key] = recorded(instances, rows, data=data)
            progress.advance(1)
    told = [goal for goal in chosen if _tells(goal, experience[goal.instance.dynamics_key])]
    for goal in chosen if len(told) < len(chosen) else ():
        if goal not in told:
            click.echo(f"Left out, for nothing recorded tells it apart: {goal.name}", err=True)
    chosen = told
    results: dict[str, list[Answer]] = {}
    for before, name in zip(["", *names], names, strict=False):
        if name == SHUFFLED:
            results[f"{SHUFFLED} {before}"] = shuffled(results[before], experience)
            continue
        who = writer(name, lambda text: click.echo(text, err=True), base_url)
        results[name] = []
        with Progress(4 * len(chosen), name, unit="sentences") as progress:
            for goal in chosen:
                for sentence in goal.sentences:
                    results[name].append(answer(who, goal, sentence, experience[goal.instance.dynamics_key]))
                    progress.advance(1)
    if as_json:
        click.echo(json.dumps(_record(split, results), indent=1, ensure_ascii=False))
    else:
        _show(split, results, each)


def _tells(goal: Goal, rows: Recorded) -> bool:
    """Whether the truth is not the same on all recorded rows."""
    return float(label(goal.truth(rows.measured), goal.instance, rows).std()) > 1e-3


def _record(split: str, results: dict[str, list[Answer]]) -> dict[str, object]:
    writers = {
        name: {"all": _summary(found), "kinds": {kind: _summary(part) for kind, part in _by_kind(found).items()}}
        | {"answers": [one.record() for one in found]}
        for name, found in results.items()
    }
    return {"split": split, "writers": writers}


def _summary(found: Sequence[Answer]) -> dict[str, float]:
    return summary([one.score for one in found], [one.seconds for one in found])


def _by_kind(found: Sequence[Answer]) -> dict[str, list[Answer]]:
    parts: dict[str, list[Answer]] = defaultdict(list)
    for one in found:
        parts[one.goal.kind].append(one)
    return dict(parts)


def _show(split: str, results: dict[str, list[Answer]], each: bool) -> None:
    console = Console(width=180)
    table = Table("writer", "goals", title=f"nl2reward, {split} split")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for name, found in results.items():
        for kind, part in {"all": found, **_by_kind(found)}.items():
            values = _summary(part)
            cells = [f"{values[c]:.0%}" if c == "valid" else f"{values[c]:.3g}" for c in COLUMNS]
            table.add_row(f"[b]{name}[/b]" if kind == "all" else "", kind, *cells)
        table.add_section()
    console.print(table)
    for name, found in results.items() if each else ():
        if name in CONTROLS and name != "lexicon":
            continue
        for one in found:
            console.print(
                f"{one.score.segments:+.2f} {one.goal.instance.environment.name}: {one.sentence} -> {one.says}",
                markup=False,
                highlight=False,
            )


if __name__ == "__main__":
    main()
