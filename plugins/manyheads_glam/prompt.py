"""The prompt for models that draft: instructions, worked examples, then all that comes from outside as data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from manyheads import ManyheadsError, RewardSpec, Signal
from manyheads.environment.contract import Instance
from manyheads.registry import registry
from manyheads.rewards.finding import Finding
from manyheads.rewards.validate import read_spec
from manyheads_glam.amounts import MeasuredRange
from manyheads_glam.surroundings import Surroundings
from manyheads_glam.words import SCALES

EXAMPLES = 3
HERE = Path(str(files("manyheads_glam")))
Embed = Callable[[Sequence[str]], Any]


def write_prompt(
    goal: str,
    instance: Instance,
    measured: Mapping[str, MeasuredRange],
    around: Surroundings,
    embed: Embed,
    refused: tuple[str, Sequence[Finding]] | None = None,
    imagined: str = "",
) -> str:
    """The whole prompt; `refused` is the answer before this attempt and what was wrong with it, `imagined` what
    earlier specifications would do.

    Texts from outside (goal, names, descriptions, a refused answer) come last, as JSON strings in which no tag can
    be closed and no line can be broken.
    """
    instructions = (HERE / "instructions.md").read_text(encoding="utf-8")
    examples = "\n\n".join(_example(spec) for spec in nearest(goal, instance.environment.name, embed))
    signals = [_signal(signal, measured.get(signal.name)) for signal in instance.signals if signal.name != "reward"]
    rows = [
        f'"environment": {quoted({"name": instance.environment.name, "about": about(instance, around)})}',
        '"signals": [\n' + ",\n".join(quoted(signal) for signal in signals) + "\n]",
        f'"goal": {quoted(goal)}',
    ]
    closing = "Write the specification of the goal in the data above."
    if refused is not None:
        reply, findings = refused
        rows += [
            f'"refused answer": {quoted(reply)}',
            f'"what is wrong with it": {quoted([f"{one} {one.advice}" for one in findings])}',
        ]
        closing = "Write the specification of the goal in the data above again, without what was wrong with it."
    if imagined:
        rows.append(f'"what agents of earlier specifications would do": {quoted(imagined)}')
        closing += " Better than the earlier ones, by what their agents would do."
    data = "{\n" + ",\n".join(rows) + "\n}"
    return f"{instructions}\n# Examples\n\n{examples}\n\n# The task\n\n<data>\n{data}\n</data>\n\n{closing}\n"


def about(instance: Instance, around: Surroundings) -> str:
    """The environment in a paragraph: what it is, how long an episode is, what an action is."""
    environment = instance.environment
    options = {name: value for name, value in instance.options.model_dump(mode="json").items() if value is not None}
    sentences = [environment.description or environment.name, f"Its options here: {json.dumps(options)}"]
    if around.episode_steps is not None:
        lasts = f"An episode lasts {around.episode_steps} steps"
        seconds = around.step_seconds
        sentences.append(f"{lasts} of about {seconds:.3g} s each" if seconds else lasts)
    repeat = getattr(instance.options, "action_repeat", 1)
    if repeat > 1:
        sentences.append(f"In each step the simulator repeats the action {repeat} times")
    if around.actions:
        sentences.append(f"An action is {around.actions}")
    return " ".join(f"{sentence.rstrip('.')}." for sentence in sentences)


@cache
def specifications() -> tuple[RewardSpec, ...]:
    """The packaged worked examples."""
    return tuple(read_spec(path) for path in sorted((HERE / "examples" / "specifications").glob("*.yaml")))


def nearest(goal: str, environment: str, embed: Embed) -> list[RewardSpec]:
    """The worked examples with the nearest goals, each of another environment than the goal's and one another's."""
    others = [spec for spec in specifications() if spec.environment != environment]
    vectors = np.asarray(embed([goal, *(spec.goal for spec in others)]))
    order = np.argsort(-(vectors[1:] @ vectors[0]), kind="stable")
    chosen: dict[str, RewardSpec] = {}
    for i in order:
        chosen.setdefault(others[i].environment, others[i])
    return list(chosen.values())[:EXAMPLES]


def quoted(value: Any) -> str:
    """JSON in one line; `<`, `>` and what can't be seen are escaped, so that no text in it closes or hides anything."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() and c not in "<>" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return f"\\u{ord(character):04x}" if character in "<>" else json.dumps(character)[1:-1]


def _example(spec: RewardSpec) -> str:
    answer = spec.model_dump(
        mode="json", exclude_defaults=True, exclude={"goal", "environment", "version", "catalogue"}
    )
    if spec.success is not None:
        answer["success"]["held_for"] = spec.success.held_for
    lines = [
        f"Goal ({spec.environment}): {quoted(spec.goal)}",
        *_example_signals(spec),
        f"Answer: {json.dumps(answer)}",
    ]
    return "\n".join(lines)


def _example_signals(spec: RewardSpec) -> list[str]:
    """What the example's signals are, where its environment is installed here."""
    try:
        signals = registry().environments[spec.environment].instance({}).signals
    except ManyheadsError:
        return []
    return [f"Signal: {quoted(_signal(signal, None))}" for signal in signals if signal.name in spec.signals]


def _signal(signal: Signal, measured: MeasuredRange | None) -> dict[str, Any]:
    row: dict[str, Any] = {"name": signal.name, "unit": signal.unit}
    if signal.kind != "continuous":
        row["kind"] = signal.kind
    row["range"] = [_number(signal.low), _number(signal.high)]
    if measured is not None:
        row["seen"] = {f"{100 * q:g}%": _number(value) for q, value in measured.quantiles.items()}
        row["size seen at most in 95% of steps"] = _number(measured.size)
    elif signal.low is None or signal.high is None:
        row["usual size in this unit"] = _number(SCALES.get(signal.unit, 1.0))
    return row | {"description": signal.description}


def _number(value: float | None) -> float | None:
    """Four significant digits."""
    return None if value is None else float(f"{value:.4g}")
