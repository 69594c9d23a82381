"""`manyheads goal`: a sentence in, a task file out, with a person's yes in between."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from manyheads import LanguageModel, ManyheadsError, TaskFile, load_task, yamlfile
from manyheads.environment.contract import Instance
from manyheads.kinds import split_overrides
from manyheads.parameters import NamedPath, NewFile
from manyheads.registry import registry
from manyheads.rewards.describe import describe
from manyheads.rewards.spec import RewardSpec
from manyheads.yamlfile import read_setting
from manyheads_glam import preview
from manyheads_glam.asking import asked_back
from manyheads_glam.candidates import HERE, Where
from manyheads_glam.competition import MOST_ROUNDS, compete
from manyheads_glam.experience import Seen
from manyheads_glam.models.chat import ChatModel
from manyheads_glam.models.choose import choose
from manyheads_glam.models.settings import ModelSettings, chosen, config_file
from manyheads_glam.models.settings import remember as remember_model
from manyheads_glam.options import model_flags
from manyheads_glam.session import Session
from manyheads_glam.task_files import task_file
from manyheads_glam.transcript import require_journal, write_jsonl
from manyheads_glam.writer import Written

UNSEEN = 3
"""exit code where the task was written but the world has not seen what it asks for"""


@click.command()
@click.argument("sentence", required=False)
@click.option("--environment", metavar="NAME", help="where the goal is to be reached; default: the world's only one")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="OPTION=VALUE",
    help="an option of the environment, or RUNNER.option=value",
)
@click.option("--world", type=NamedPath(), help="take ranges and episodes from this world, or `starter`")
@model_flags
@click.option("--no-cache", is_flag=True, help="ask again, even what was asked before")
@click.option("--remember", is_flag=True, help="make this model with its limits the default; a goal may be left out")
@click.option(
    "--candidates", default=1, show_default=True, type=click.IntRange(1, 16), help="specifications to compare"
)
@click.option("--rounds", default=1, show_default=True, type=click.IntRange(1, MOST_ROUNDS), help="of candidates")
@click.option("--updates", default=1000, show_default=True, type=click.IntRange(min=1), help="of candidates' heads")
@click.option(
    "--runner",
    default="local",
    show_default=True,
    metavar="NAME",
    help="where candidates' heads train (`manyheads list runners`)",
)
@click.option("--yes", is_flag=True, help="write the task without asking")
@click.option("--json", "as_json", is_flag=True, help="print JSON, ask nothing; with --yes the task is written too")
@click.option(
    "--out", type=NewFile(".yaml", ".yml"), help="the task file; default: WORLD/goals/ or here, named by the goal"
)
@click.pass_context
def goal(
    context: click.Context,
    /,
    sentence: str | None,
    environment: str | None,
    settings: Sequence[str],
    world: Path | None,
    no_cache: bool,
    remember: bool,
    candidates: int,
    rounds: int,
    updates: int,
    runner: str,
    yes: bool,
    as_json: bool,
    out: Path | None,
    **flags: Any,
) -> None:
    """Turn SENTENCE, a goal in plain words, into a task with a checked reward specification.

    The task is shown in plain words and written when you agree. With --candidates, heads of several specifications are
    trained in WORLD's imagination, and the one whose head does best is taken. Exit code 3: it was written, but the
    world has hardly seen what it asks for, so that it should be trained online.
    """
    if sentence is None:
        if not remember:
            raise ManyheadsError('Say the goal: manyheads goal "…" --environment NAME.')
        _model(flags, cached=False, remember=True)
        return
    if candidates > 1 and world is None:
        raise ManyheadsError("--candidates judges by a world's imagination: say which with --world WORLD.")
    others, own = split_overrides(settings, [runner])
    given = dict(read_setting(text, "action_repeat=2") for text in others)
    where = Where(runner, own[runner])
    registry().runners[runner].heads_trainer(own[runner])
    if runner != HERE.runner and candidates == 1:
        raise ManyheadsError("--runner trains the heads of several specifications: --candidates says how many.")
    limits, model = _model(flags, cached=not no_cache, remember=remember)
    with Session(world, environment, given, limits, model) as session:
        folder, instance = session.folder, session.instance
        try:
            if candidates > 1:
                written = compete(sentence, slug(sentence), session, candidates, rounds, updates, _say, where=where)
            else:
                written = session.write(sentence) if yes or as_json else asked_back(sentence, session.write)
        finally:
            if isinstance(model, ChatModel) and model.spending.used:
                _say(f"{model.name}: {model.spending.summary()}.")
        seen = session.look(written.spec)
    sentence = written.spec.goal
    content = task_file(written.spec, instance, folder)
    path = out or (folder.path / "goals" if folder else Path()) / f"{slug(sentence)}.yaml"

    console = Console(width=None if Console().is_terminal else 120)
    if as_json:
        click.echo(json.dumps(_record(written, instance, seen, path if yes else None), indent=1, ensure_ascii=False))
    else:
        preview.show(console, written, instance, session.measured, seen)
        if not yes:
            content = _confirmed(content)
    if as_json and not yes:
        return
    _require_free(path, content, given=out is not None)
    content.write(path)
    write_jsonl(path.with_suffix(".jsonl"), written.journal)
    if not as_json:
        click.echo(f"Wrote {path} and {path.with_suffix('.jsonl')} (every prompt, answer and decision).")
    if folder and (seen is None or not seen.familiar):
        advice = preview.advice(seen, str(world), str(path)) if seen else f"{world} has no experience of this yet."
        click.echo(advice, err=True)
        context.exit(UNSEEN)


def slug(sentence: str) -> str:
    """A goal as a file's name: its first eight words."""
    words = re.findall(r"[a-z0-9.]+", sentence.lower())
    return "_".join(word.strip(".") for word in words[:8])[:60] or "goal"


def _model(flags: Mapping[str, Any], cached: bool, remember: bool) -> tuple[ModelSettings, LanguageModel]:
    """The model and its limits, from the flags or as remembered; says so, and remembers where that is wanted."""
    limits, recalled = chosen(flags)
    model = choose(limits, _say, cached)
    if recalled:
        _say(f"Model {limits.model}, as remembered in {config_file()}; --model takes another.")
    if remember:
        _say(f"Remembered in {remember_model(limits)}: {limits.model} is the default from now on.")
    return limits, model


def _say(text: str) -> None:
    click.echo(text, err=True)


def _confirmed(content: TaskFile) -> TaskFile:
    """What a person agrees to, possibly after editing it; leaves with exit code 1 where they do not."""
    while True:
        try:
            answer = click.prompt(
                "Write this task? (y)es, (e)dit, (n)o", type=click.Choice(["y", "e", "n"]), default="y"
            )
        except click.Abort:
            raise ManyheadsError("Nothing was written: nobody answered. --yes writes without asking.") from None
        if answer == "n":
            raise ManyheadsError("Nothing was written.")
        if answer == "y":
            return content
        try:
            content = _edited(content)
            spec = RewardSpec.model_validate((content.reward.model_extra or {})["spec"])
            instance = registry().environments[content.environment].instance(content.options)
            click.echo(f"\n{describe(spec.model_copy(update={'success': content.success}), instance.signals)}\n")
        except ManyheadsError as error:
            click.echo(f"{error}\nThe edit was left out.", err=True)


def _edited(content: TaskFile) -> TaskFile:
    """The task file after a visit to $EDITOR, read as strictly as any."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.yaml"
        content.write(path)
        click.edit(filename=str(path))
        return load_task(path).content


def _require_free(path: Path, content: TaskFile, given: bool) -> None:
    """A task that can't be used is not written, and none over a file that holds no task; nor, where that file was not
    asked for by name, over another task."""
    content.resolve(path.stem)
    require_journal(path.with_suffix(".jsonl"))
    if not path.exists():
        return
    try:
        held = yamlfile.read(path).check(TaskFile)
    except ManyheadsError as error:
        raise ManyheadsError(f"{path} exists and holds no task ({error}). Choose another --out.") from None
    if not given and held != content:
        raise ManyheadsError(f"{path} holds another task already; --out {path} replaces it, another --out keeps both.")


def _record(written: Written, instance: Instance, seen: Seen | None, path: Path | None) -> dict[str, Any]:
    """Everything shown to a person, as plain data."""
    return {
        "goal": written.spec.goal,
        "environment": instance.environment.name,
        "file": None if path is None else str(path),
        "description": describe(written.spec, instance.signals),
        "spec": written.spec.model_dump(mode="json", exclude_defaults=True),
        "decisions": [asdict(replace(one, options=())) for one in written.decisions],
        "warnings": [{**asdict(one), "advice": one.advice} for one in written.findings],
        "ignored": list(written.ignored),
        "experience": None
        if seen is None
        else {
            "rows": seen.coverage.rows,
            "fulfilled": seen.fulfilled,
            "parts": list(seen.parts),
            "much": seen.coverage.much,
            "best_stretch": seen.coverage.best_stretch,
            "successes": seen.coverage.successes,
            "episodes": seen.coverage.episodes,
            "familiar": seen.familiar,
        },
    }
