"""`manyheads reward`: looks at reward specifications before anything trains on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from manyheads.cli import console
from manyheads.environment.contract import Signal
from manyheads.registry import registry
from manyheads.rewards.describe import describe
from manyheads.rewards.document import read_document
from manyheads.rewards.finding import Finding, errors
from manyheads.rewards.spec import RewardSpec
from manyheads.rewards.validate import check_instance, check_text, read_text
from manyheads.yamlfile import read_setting


@click.group()
def reward() -> None:
    """Look at reward specifications."""


@reward.command()
@click.argument("environment")
@click.option("--set", "settings", multiple=True, metavar="OPTION=VALUE", help="an option of the environment")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
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
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--environment", metavar="NAME", help="for this environment; default: the one that FILE names")
@click.option("--set", "settings", multiple=True, metavar="OPTION=VALUE", help="an option of the environment")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of text")
@click.pass_context
def check(context: click.Context, file: Path, environment: str | None, settings: Sequence[str], as_json: bool) -> None:
    """Check FILE, a specification or a task file that holds one, and say it back in plain words."""
    text = read_text(file)
    spec, findings = check_text(text)
    words = ""
    if spec is not None:
        name = environment or spec.environment
        own = _options_of(text) if name == spec.environment else {}
        instance = registry().environments[name].instance({**own, **_options(settings)})
        spec, findings = check_text(text, instance.signals)
        if spec is not None:
            findings += check_instance(spec, instance)
            words = describe(spec, instance.signals)
    _report(spec, findings, words, as_json)
    if errors(findings):
        context.exit(1)


def _report(spec: RewardSpec | None, findings: Sequence[Finding], words: str, as_json: bool) -> None:
    if as_json:
        record = {"valid": not errors(findings), "findings": [*map(asdict, findings)], "description": words}
        click.echo(json.dumps(record, indent=1, ensure_ascii=False))
        return
    for finding in findings:
        click.echo(f"{finding.severity}: {finding}")
    if spec is not None:
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
