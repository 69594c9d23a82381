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
from manyheads.parameters import NamedPath, NewFile
from manyheads.registry import registry
from manyheads.rewards.describe import describe
from manyheads.rewards.spec import RewardSpec
from manyheads.storage.world_folder import WorldFolder
from manyheads.yamlfile import read_setting
from manyheads_glam import preview
from manyheads_glam.experience import Seen, look, ranges
from manyheads_glam.models.chat import ChatModel
from manyheads_glam.models.choose import choose
from manyheads_glam.models.settings import ModelSettings, chosen, config_file
from manyheads_glam.models.settings import remember as remember_model
from manyheads_glam.options import model_flags
from manyheads_glam.surroundings import surroundings
from manyheads_glam.transcript import require_journal, write_jsonl
from manyheads_glam.writer import NOTHING_KNOWN, Written, write

UNSEEN = 3
"""exit code where the task was written but the world has not seen what it asks for"""
EPISODE = 1000
"""simulator steps in an episode of an environment that has no packaged task"""


@click.command()
@click.argument("sentence", required=False)
@click.option("--environment", metavar="NAME", help="where the goal is to be reached; default: the world's only one")
@click.option("--set", "settings", multiple=True, metavar="OPTION=VALUE", help="an option of the environment")
@click.option("--world", type=NamedPath(), help="take ranges and episodes from this world")
@model_flags
@click.option("--no-cache", is_flag=True, help="ask again, even what was asked before")
@click.option("--remember", is_flag=True, help="make this model with its limits the default; a goal may be left out")
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
    yes: bool,
    as_json: bool,
    out: Path | None,
    **flags: Any,
) -> None:
    """Turn SENTENCE, a goal in plain words, into a task with a checked reward specification.

    The task is shown in plain words and written when you agree. Exit code 3: it was written, but the world has
    hardly seen what it asks for, so that it should be trained online.
    """
    if sentence is None:
        if not remember:
            raise ManyheadsError('Say the goal: manyheads goal "…" --environment NAME.')
        _model(flags, cached=False, remember=True)
        return
    folder = WorldFolder.open(world) if world else None
    instance = _instance(folder, environment, settings)
    limits, model = _model(flags, cached=not no_cache, remember=remember)
    replay = folder.replay(read_only=True) if folder else None
    measured = ranges(replay, instance.dynamics_key) if replay else {}
    drafts = getattr(model, "drafts", True)
    around = surroundings(instance, _episode_steps(instance, folder)) if drafts else NOTHING_KNOWN
    try:
        written = write(sentence, instance, model, measured, around, limits.tries, limits.max_tokens)
    finally:
        if isinstance(model, ChatModel) and model.spending.used:
            _say(f"{model.name}: {model.spending.summary()}.")
    content = _task_file(written.spec, instance, folder)
    seen = look(replay, instance.dynamics_key, written.spec, instance.step_seconds) if replay else None
    path = out or (folder.path / "goals" if folder else Path()) / f"{slug(sentence)}.yaml"

    console = Console(width=None if Console().is_terminal else 120)
    if as_json:
        click.echo(json.dumps(_record(written, instance, seen, path if yes else None), indent=1, ensure_ascii=False))
    else:
        preview.show(console, written, instance, measured, seen)
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


def _instance(folder: WorldFolder | None, environment: str | None, settings: Sequence[str]) -> Instance:
    """The instance: of a world's own options where there is one, with the options given here on top."""
    options = dict(read_setting(text, "action_repeat=2") for text in settings)
    if folder is None:
        if environment is None:
            raise ManyheadsError("Say where: --environment NAME, or --world WORLD (`manyheads list environments`).")
        return registry().environments[environment].instance(options)
    names = list(dict.fromkeys(record.environment for record in folder.instances))
    if environment is None and len(names) > 1:
        raise ManyheadsError(f"{folder.path} knows {', '.join(names)}; say which with --environment NAME.")
    name = environment or names[0]
    own = next((record.options for record in folder.instances if record.environment == name), {})
    instance = registry().environments[name].instance({**own, **options})
    folder.record_of(instance)
    return instance


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


def _task_file(spec: RewardSpec, instance: Instance, folder: WorldFolder | None) -> TaskFile:
    data = {"version": 1, **spec.model_dump(mode="json", exclude_defaults=True, exclude={"success"})}
    return TaskFile.model_validate(
        {
            "version": 1,
            "environment": instance.environment.name,
            "options": instance.options.model_dump(mode="json", exclude_defaults=True),
            "reward": {"source": "spec", "spec": data},
            "success": spec.success,
            "episode_steps": _episode_steps(instance, folder),
            "goal": spec.goal,
        }
    )


def _episode_steps(instance: Instance, folder: WorldFolder | None) -> int:
    """As long as the world's own tasks there, else as the first packaged task, else the usual length."""
    for name in folder.heads if folder else ():
        task = folder.task(name) if folder else None
        if task is not None and task.instance.dynamics_key == instance.dynamics_key:
            return task.episode_steps
    repeat = getattr(instance.options, "action_repeat", 1)
    prefix = f"{instance.environment.name}-"
    for name in sorted(registry().tasks):
        if name.startswith(prefix):
            task = load_task(name)
            return max(1, task.episode_steps * int(task.options.get("action_repeat", 1)) // repeat)
    return max(1, EPISODE // repeat)


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
        "warnings": [str(finding) for finding in written.findings],
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
