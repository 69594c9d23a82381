"""R3, drafting: a stronger language model writes the specification as JSON; refusals go back to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from manyheads import RewardSpec
from manyheads.environment.contract import Instance
from manyheads.rewards.finding import Finding, errors
from manyheads.rewards.validate import catalogue_hash, check_text
from manyheads_glam.amounts import Measured
from manyheads_glam.decisions import Decision
from manyheads_glam.transcript import Recorded

TOKENS = 1500
INSTRUCTIONS = """\
Write a reward specification as JSON for this goal: {goal}

It may only use these signals:
{signals}

Example: {example}

A term has an expression `x` and a shape `to`. A tolerance pays 1 for values from `lower` to `upper` and falls to 0.1
at distance `margin` beside them (null: unbounded). Combine terms by "product". `success` says when the goal is
reached. Take numbers from the goal or from the signals' ranges. Answer with JSON alone."""


class Draft(NamedTuple):
    """A specification that passed all checks, where it came from, and the warnings."""

    spec: RewardSpec
    decisions: tuple[Decision, ...]
    findings: tuple[Finding, ...]


def draft(goal: str, instance: Instance, model: Recorded, measured: Mapping[str, Measured], attempts: int) -> Draft:
    """Asks at most `attempts` times, each time with what was refused; then a ManyheadsError for the person."""
    from manyheads_glam.writer import refused

    prompt = INSTRUCTIONS.format(goal=goal, signals=_signals(instance, measured), example=_example(instance))
    schema = constrained(instance)
    refusals: list[Finding] = []
    for attempt in range(1, attempts + 1):
        reply = model.generate(prompt + _feedback(refusals), schema, TOKENS)
        spec, findings = check_text(reply, instance.signals)
        if spec is not None and spec.success is None:
            findings = [Finding("L1_SCHEMA", "error", "success", "Say when the goal is reached, under `success`.")]
            spec = None
        if spec is not None:
            spec = spec.model_copy(update={"goal": goal, "environment": instance.environment.name, "catalogue": None})
            spec = spec.model_copy(update={"catalogue": catalogue_hash(spec, instance.signals)})
            why = f"drafted by {model.name}, attempt {attempt} of {attempts}"
            decision = Decision(goal, "the whole specification", "drafted", "R3 draft", 0.0, why)
            return Draft(spec, (decision,), tuple(findings))
        refusals = errors(findings)
        model.calls += [{"call": "refusal", "text": str(refusal)} for refusal in refusals]
    raise refused(goal, attempts, refusals)


def constrained(instance: Instance) -> dict[str, Any]:
    """The grammar as a JSON schema over this instance's signals alone."""
    schema: dict[str, Any] = _plain(RewardSpec.model_json_schema())
    names = [signal.name for signal in instance.signals if signal.name != "reward"]
    schema["$defs"]["SignalValue"]["properties"]["signal"] = {"enum": names}
    schema["required"] = ["environment", "goal", "reward", "success"]
    for name in ("catalogue", "goal", "environment"):
        schema["properties"].pop(name, None)
    schema["properties"] |= {"environment": {"const": instance.environment.name}, "goal": {"const": ""}}
    return schema


def _plain(node: Any) -> Any:
    """Without keys that only describe; `oneOf` as `anyOf`, since every member has a key of its own."""
    if isinstance(node, list):
        return [_plain(child) for child in node]
    if not isinstance(node, dict):
        return node
    kept = {
        key: value for key, value in node.items() if key not in ("discriminator", "description", "default", "title")
    }
    return {("anyOf" if key == "oneOf" else key): _plain(value) for key, value in kept.items()}


def _signals(instance: Instance, measured: Mapping[str, Measured]) -> str:
    lines = []
    for signal in instance.signals:
        if signal.name == "reward":
            continue
        low, high = signal.low, signal.high
        if signal.name in measured:
            low, high = (measured[signal.name].quantiles[q] for q in (0.01, 0.99))
        lines.append(f"- {signal.name} ({signal.unit}, {_number(low)} to {_number(high)}): {signal.says}")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "unbounded" if value is None else f"{value:.4g}"


def _example(instance: Instance) -> str:
    signal = next(signal.name for signal in instance.signals if signal.name != "reward")
    term = {"x": {"signal": signal}, "to": {"shape": "tolerance", "lower": 0.5, "upper": None, "margin": 1.0}}
    success = {"when": {"op": "ge", "x": {"signal": signal}, "than": 0.5}, "held_for": 20}
    whole = {"version": 1, "environment": instance.environment.name, "goal": "", "reward": term, "success": success}
    return json.dumps(whole)


def _feedback(refusals: list[Finding]) -> str:
    if not refusals:
        return ""
    listing = "\n".join(f"- {refusal}" for refusal in refusals)
    return f"\n\nThe last answer was refused:\n{listing}\nWrite it again without these mistakes."
