"""`manyheads ground`: a writer of decisions practises on what worlds have recorded; the result is a small file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from manyheads import ManyheadsError, atomic
from manyheads.training import compute_dtype
from manyheads_glam.grounding.curve import draw
from manyheads_glam.grounding.policy import Policy
from manyheads_glam.grounding.practice import Practice, practices
from manyheads_glam.grounding.train import REINFORCED, SUPERVISED, GroundSettings, Run
from manyheads_glam.models.adapter import AdapterInfo, save_adapter
from manyheads_glam.models.embedded import base_model
from manyheads_glam.models.settings import EMBEDDED
from manyheads_glam.transcript import Trust

USUAL = GroundSettings()
SAVE_EVERY = 25


@click.command()
@click.argument("worlds", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", default=EMBEDDED, show_default=True, help="what is trained: glam/embedded or local:FOLDER")
@click.option("--out", type=click.Path(path_type=Path), default=Path("writer.safetensors"), show_default=True)
@click.option("--held-out", multiple=True, metavar="ENVIRONMENT", help="never trained on; default: each fifth one")
@click.option("--warm", default=USUAL.warm, show_default=True, type=click.IntRange(min=0), help="supervised steps")
@click.option("--steps", default=USUAL.steps, show_default=True, type=click.IntRange(min=0), help="reinforced steps")
@click.option("--goals", default=USUAL.goals, show_default=True, type=click.IntRange(1, 64), help="a step")
@click.option("--group", default=USUAL.group, show_default=True, type=click.IntRange(2, 64), help="tries at a goal")
@click.option(
    "--imagined",
    default=USUAL.imagined,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="share of goals judged by heads trained in imagination, too; `imagined seconds` says what they take",
)
@click.option(
    "--head-updates", default=USUAL.head_updates, show_default=True, type=click.IntRange(1, 10_000), help="of each head"
)
@click.option("--held", default=USUAL.held, show_default=True, type=click.IntRange(min=1), help="goals of a test")
@click.option("--lr", default=USUAL.lr, show_default=True, type=float, help="learning rate")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--json", "as_json", is_flag=True, help="print the figures as JSON")
def ground(
    worlds: Sequence[Path], model: str, out: Path, held_out: Sequence[str], seed: int, as_json: bool, **sizes: Any
) -> None:
    """Teach a small language model to write rewards, from what WORLDS have recorded.

    Practice goals are sampled over the worlds' signals and said in words; the writer learns from how its
    specifications rank the recorded stretches. The adapter OUT is used by `manyheads goal --model adapter:OUT`; next to
    it lie the curve and what is needed to continue. Ctrl-C saves; the same command continues.
    """
    settings = GroundSettings(seed=seed, **sizes)
    trained, tested = _divided(practices(worlds, settings.head_updates, settings.head_steps), held_out)
    trust = Trust(settings.weight, settings.limit, learned=True)
    dtype = compute_dtype("auto", "cpu")
    policy = Policy(base_model(model), settings.rank, 2 * settings.rank, trust, settings.seed, dtype)
    run = Run(settings, policy, trained, tested)
    state = out.with_suffix(".state")
    if state.exists():
        run.restore(state)
        click.echo(f"Resuming from step {run.step} of {settings.total}, kept in {state}.", err=True)
    else:
        run.curve.append({"step": 0, **run.held()})
    _say(run, trained, tested)
    frozen = {id(one.world): one.world for one in trained if one.world is not None}
    try:
        _practise(run, state)
    except KeyboardInterrupt:
        run.save(state)
        raise ManyheadsError(f"Stopped at step {run.step} of {settings.total}; the same command continues.") from None
    finally:
        for world in frozen.values():
            world.close()
    figures = {f"{name} {when}": row[name] for when, row in _ends(run) for name in row if name.startswith("held-out")}
    names = tuple(dict.fromkeys(one.instance.environment.name for one in trained))
    save_adapter(
        out,
        AdapterInfo(
            base=model,
            rank=settings.rank,
            alpha=2 * settings.rank,
            weight=settings.weight,
            limit=settings.limit,
            environments=names,
            figures=figures,
        ),
        policy.tensors(),
    )
    atomic.write_text(out.with_suffix(".jsonl"), "".join(f"{json.dumps(row)}\n" for row in run.curve))
    draw(out.with_suffix(".svg"), run.curve, settings.warm)
    if as_json:
        click.echo(json.dumps({"adapter": str(out), "settings": settings.model_dump(), **figures}, indent=1))
    else:
        click.echo(_verdict(run, out))


def _divided(found: Sequence[Practice], held_out: Sequence[str]) -> tuple[list[Practice], list[Practice]]:
    """Those to practise on, and those that are only tested."""
    names = list(dict.fromkeys(one.instance.environment.name for one in found))
    if unknown := sorted(set(held_out) - set(names)):
        raise ManyheadsError(f"--held-out {unknown[0]}: the worlds have recorded {', '.join(names)}.")
    apart = set(held_out) or set(names[4::5])
    trained = [one for one in found if one.instance.environment.name not in apart]
    if not trained:
        raise ManyheadsError("Every environment is held out, so there is nothing to practise on.")
    return trained, [one for one in found if one.instance.environment.name in apart]


def _say(run: Run, trained: Sequence[Practice], tested: Sequence[Practice]) -> None:
    for what, where in (("practising on", trained), ("held out", tested)):
        names = ", ".join(dict.fromkeys(one.instance.environment.name for one in where)) or "nothing"
        click.echo(f"{what}: {names}", err=True)
    if run.settings.imagined and run.settings.steps:
        click.echo(_imagining(run, trained), err=True)
    row = run.curve[0]
    for name in run.tests:
        click.echo(f"before, {name}: median agreement {row[f'{name} median']:.2f}, mean {row[name]:.2f}", err=True)


def _imagining(run: Run, trained: Sequence[Practice]) -> str:
    """Where heads are trained in imagination."""
    settings = run.settings
    able = dict.fromkeys(one.instance.environment.name for one in trained if one.world is not None)
    if not able:
        return (
            "No head is trained in imagination: none of the worlds has a trained model with readouts. "
            "`manyheads train` makes them; rewards are rank correlations alone."
        )
    return (
        f"on {settings.imagined:.0%} of the goals for {', '.join(able)}, heads trained by {settings.head_updates} "
        f"updates in imagination count, too"
    )


def _practise(run: Run, state: Path) -> None:
    """Trains to the end with progress and time left shown, saving on the way."""
    total = run.settings.total
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("practising", total=total, completed=run.step)

        def seen(row: Mapping[str, float]) -> None:
            phase = SUPERVISED if run.step <= run.settings.warm else REINFORCED
            progress.update(bar, completed=run.step, description=phase)
            if any(name.startswith("held-out") for name in row):
                numbers = ", ".join(f"{name} {value:.2f}" for name, value in row.items() if name != "step")
                progress.console.print(f"step {run.step}: {numbers}")
            if run.step % SAVE_EVERY == 0:
                run.save(state)

        run.train(total, seen)
    run.save(state)


def _ends(run: Run) -> list[tuple[str, Mapping[str, float]]]:
    looks = [row for row in run.curve if any(name.startswith("held-out") for name in row)]
    return [("before", looks[0]), ("after", looks[-1])]


def _verdict(run: Run, out: Path) -> str:
    (_, before), (_, after) = _ends(run)
    seconds = sum(row.get("imagined seconds", 0.0) for row in run.curve)
    judged = sum(row.get("imagined goals", 0.0) for row in run.curve)
    lines = [f"Heads of {judged:.0f} goals were trained in imagination, in {seconds / 60:.1f} min."] if seconds else []
    lines += [f"Wrote {out}. Agreement with the truth (Spearman of 50-step stretches, mean and median):"]
    for name in run.tests:
        figures = [f"{row[name]:.2f}, {row[f'{name} median']:.2f}" for row in (before, after)]
        lines.append(f"  {name}: {figures[0]} before, {figures[1]} after")
    better = all(after[name] > before[name] for name in run.tests)
    lines.append(
        f"Use it with `manyheads goal --model adapter:{out}`." if better else "It did not get better; leave it unused."
    )
    return "\n".join(lines)
