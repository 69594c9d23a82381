"""`manyheads reward`: looks at reward specifications before anything trains on them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import click

from manyheads import atomic, yamlfile
from manyheads.cli import console
from manyheads.environment.contract import Instance, Signal
from manyheads.errors import ManyheadsError
from manyheads.parameters import NamedPath, NewFile
from manyheads.registry import registry
from manyheads.rewards.describe import Words, describe, summarize
from manyheads.rewards.document import Refused, read_document
from manyheads.rewards.finding import Finding, errors
from manyheads.rewards.spec import RewardSpec
from manyheads.rewards.validate import check_instance, check_text, read_text
from manyheads.task import TaskFile, load_task
from manyheads.yamlfile import read_setting

FILE = click.argument("file", type=NamedPath())
WORLD = click.argument("world", type=NamedPath())
ENVIRONMENT = click.option("--environment", metavar="NAME", help="for this environment; default: the one in FILE")
SETTINGS = click.option("--set", "settings", multiple=True, metavar="OPTION=VALUE", help="an option of the environment")
JSON = click.option("--json", "as_json", is_flag=True, help="print JSON instead of text")


class Checked(NamedTuple):
    """A specification that can be used, with the instance that it is for."""

    spec: RewardSpec
    instance: Instance


@click.group()
def reward() -> None:
    """Look at reward specifications."""


@reward.command()
@click.argument("environment")
@SETTINGS
@JSON
def signals(environment: str, settings: Sequence[str], as_json: bool) -> None:
    """List what ENVIRONMENT measures: what specifications, goals and success may speak about."""
    measured = registry().environments[environment].instance(_options(settings)).signals
    if as_json:
        click.echo(json.dumps([asdict(signal) for signal in measured], indent=1, ensure_ascii=False))
        return
    console.table(
        [{"signal": s.name, "unit": s.unit, "range": _range(s), "description": s.description} for s in measured]
    )


@reward.command()
@FILE
@ENVIRONMENT
@SETTINGS
@click.option("--world", type=NamedPath(), help="hold it against this world's recorded rows, too")
@click.option(
    "--paraphrase",
    "paraphrases",
    multiple=True,
    type=NamedPath(),
    metavar="FILE",
    help="a specification of the same goal in other words, to compare on the rows",
)
@click.option("--opposite", type=NamedPath(), metavar="FILE", help="one of the opposite goal")
@JSON
@click.pass_context
def check(
    context: click.Context,
    file: Path,
    environment: str | None,
    settings: Sequence[str],
    world: Path | None,
    paraphrases: Sequence[Path],
    opposite: Path | None,
    as_json: bool,
) -> None:
    """Check FILE, a specification or any task file, and describe it in plain words."""
    text = read_text(file)
    if _other_source(text):
        words = _check_task(file)
        _report([], words, as_json)
        return
    spec, findings = check_text(text)
    words = ""
    if spec is not None:
        instance = _instance(spec, text, environment, settings)
        spec, findings = check_text(text, instance.signals)
        if spec is not None:
            findings += check_instance(spec, instance)
            words = describe(spec, instance.signals)
            if world is not None and not errors(findings):
                findings += _evidence(Checked(spec, instance), world, paraphrases, opposite)
    if _is_task(text):
        yamlfile.read(file).check(TaskFile)
    _report(findings, words if spec is not None else "", as_json)
    if errors(findings):
        context.exit(1)


@reward.command()
@FILE
@ENVIRONMENT
@SETTINGS
@JSON
def explain(file: Path, environment: str | None, settings: Sequence[str], as_json: bool) -> None:
    """Describe FILE: in a sentence, part by part, what it remembers, and its hash."""
    spec, instance = _require(file, environment, settings)
    facts = {
        "goal": spec.goal,
        "summary": summarize(spec, instance.signals),
        "description": describe(spec, instance.signals),
        "signals": sorted(spec.signals),
        "memory": spec.memory_size,
        "hash": spec.fingerprint,
    }
    if as_json:
        click.echo(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    remembers = f"It remembers {spec.memory_size} numbers of an episode." if spec.memory_size else ""
    lines = (spec.goal, f"In short: {facts['summary']}.", facts["description"], remembers, f"Hash: {spec.fingerprint}")
    click.echo("\n".join(str(line) for line in lines if line))


@reward.command()
@FILE
@WORLD
@click.argument("out", type=NewFile(".png", ".svg"))
@click.option("--episodes", default=3, show_default=True, type=click.IntRange(1, 12), help="the newest ones")
def plot(file: Path, world: Path, out: Path, episodes: int) -> None:
    """Draw FILE term by term along recorded episodes of WORLD, to OUT, a .png or .svg."""
    from manyheads.cli.recorded import read_rows
    from manyheads.report.reward_plot import reward_plot
    from manyheads.rewards.coverage import term_values

    spec, instance = _require(file)
    rows = read_rows(world, instance, episodes)
    columns = {name: column[:, None] for name, column in rows.signals.items()}
    values = term_values(spec, columns, rows.is_first[:, None], instance.step_seconds)
    curves = {"reward": _labels(Checked(spec, instance), rows).reward}
    curves |= {
        f"{path}: {words}": value[:, 0] for (path, value), words in zip(values, _terms(spec, instance), strict=True)
    }
    parts = list(rows.episodes())
    reward_plot(out, curves, parts, [f"episode {rows.episode[part.start]}" for part in parts])
    click.echo(f"{out}: reward and {len(curves) - 1} terms along {len(parts)} episodes.")


@reward.command()
@FILE
@click.argument("other", type=NamedPath())
@WORLD
@JSON
def compare(file: Path, other: Path, world: Path, as_json: bool) -> None:
    """Say whether FILE and OTHER rank the recorded rows of WORLD alike, step by step and in stretches of 50 steps."""
    from manyheads.cli.recorded import read_rows
    from manyheads.rewards.agreement import agreement

    ours = _require(file)
    rows = read_rows(world, ours.instance)
    first, second = (_labels(one, rows).reward for one in (ours, _require(other)))
    found = agreement(first, second, rows.is_first)
    numbers = {"steps": found.steps, "segments": found.segments}
    if as_json:
        finite = {name: None if value != value else value for name, value in numbers.items()}
        click.echo(json.dumps({**finite, "rows": found.rows, "segment_count": found.segment_count}, indent=1))
        return
    counts = {"steps": found.rows, "segments": found.segment_count}
    console.table(
        [{"compared": name, "count": counts[name], "Spearman": f"{value:.3f}"} for name, value in numbers.items()]
    )


@reward.command()
@FILE
@WORLD
@click.argument("out", type=NewFile(".csv"))
def label(file: Path, world: Path, out: Path) -> None:
    """Write what FILE pays for each recorded row of WORLD to OUT, a .csv with the row's episode and step."""
    from manyheads.cli.recorded import read_rows

    checked = _require(file)
    rows = read_rows(world, checked.instance)
    labels = _labels(checked, rows)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["episode", "step", "reward", "terminated"])
    columns = (rows.episode, rows.step, labels.reward, labels.terminated.astype(int))
    writer.writerows(zip(*(column.tolist() for column in columns), strict=True))
    atomic.write_text(out, text.getvalue())
    click.echo(f"{out}: {len(rows.is_first)} rows, {labels.reward[~rows.is_first].mean():.4f} a step on average.")


# --- reading files --------------------------------------------------------------------------------------


def _require(file: Path, environment: str | None = None, settings: Sequence[str] = ()) -> Checked:
    """The specification in a file; raises ManyheadsError with all that is wrong with it."""
    text = read_text(file)
    spec, findings = check_text(text)
    if spec is not None:
        instance = _instance(spec, text, environment, settings)
        spec, findings = check_text(text, instance.signals)
        if spec is not None:
            findings += check_instance(spec, instance)
            if not errors(findings):
                return Checked(spec, instance)
    raise ManyheadsError("\n".join([f"{file} can't be used.", *(f"  {one}" for one in errors(findings))]))


def _instance(spec: RewardSpec, text: str, environment: str | None, settings: Sequence[str]) -> Instance:
    name = environment or spec.environment
    own = _options_of(text) if name == spec.environment else {}
    return registry().environments[name].instance({**own, **_options(settings)})


def _other_source(text: str) -> bool:
    """Whether a text is a task file whose reward is no specification."""
    return _is_task(text) and read_document(text)["reward"]["source"] != "spec"


def _is_task(text: str) -> bool:
    try:
        data = read_document(text)
    except Refused:
        return False
    return isinstance(data, dict) and isinstance(data.get("reward"), dict) and "source" in data["reward"]


def _check_task(file: Path) -> str:
    """Describes a task whose reward is no specification; raises ManyheadsError for what is wrong with it."""
    task = load_task(file).built()
    paid = "the simulator's own reward" if task.content.reward.source == "environment" else task.content.reward.source
    lines = [f"A step earns {paid}."]
    if task.success is not None:
        lines.append(f"Success: {Words(task.instance.signals).success(task.success)}.")
    return "\n".join(lines)


def _evidence(checked: Checked, world: Path, paraphrases: Sequence[Path], opposite: Path | None) -> list[Finding]:
    """What a world's recorded rows say against it."""
    from manyheads.cli.recorded import read_rows
    from manyheads.rewards.agreement import check_meaning
    from manyheads.rewards.evidence import check_evidence

    spec, instance = checked
    rows = read_rows(world, instance)
    findings = check_evidence(spec, instance.signals, rows.signals, rows.is_first, instance.step_seconds)
    own, *others = (_labels(one, rows).reward for one in (checked, *map(_require, paraphrases)))
    against = None if opposite is None else _labels(_require(opposite), rows).reward
    return findings + check_meaning(own, rows.is_first, others, against)


def _labels(checked: Checked, rows: Any) -> Any:
    from manyheads.rewards.sources import SpecSource
    from manyheads.rewards.spec import control_names

    source = SpecSource(checked.spec, control_names(rows.signals), checked.instance.step_seconds)
    return source.label(rows.signals, rows.is_first)


def _terms(spec: RewardSpec, instance: Instance) -> list[str]:
    """What each term asks for."""
    from manyheads.rewards.nodes import walk
    from manyheads.rewards.spec import Term

    words = Words(instance.signals)
    return [words.wanted(node) for _, total in spec.totals for _, node in walk(total) if isinstance(node, Term)]


def _report(findings: Sequence[Finding], words: str, as_json: bool) -> None:
    if as_json:
        listed = [{**asdict(finding), "advice": finding.advice} for finding in findings]
        record = {"valid": not errors(findings), "findings": listed, "description": words}
        click.echo(json.dumps(record, indent=1, ensure_ascii=False))
        return
    for finding in findings:
        click.echo(f"{finding.severity}: {finding}")
    if words:
        click.echo(words)


def _range(signal: Signal) -> str:
    low, high = ("" if bound is None else f"{bound:.4g}" for bound in (signal.low, signal.high))
    return f"{low} … {high}".strip() if low or high else ""


def _options_of(text: str) -> dict[str, Any]:
    """The environment's options where the text is a task file."""
    options = read_document(text).get("options")
    return options if isinstance(options, dict) else {}


def _options(settings: Sequence[str]) -> dict[str, Any]:
    return dict(read_setting(text, "task=swingup") for text in settings)
