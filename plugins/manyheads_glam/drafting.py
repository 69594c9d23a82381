"""R3, drafting: a strong language model writes the specification as JSON; refusals go back to it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from manyheads import ManyheadsError, RewardSpec
from manyheads.environment.contract import Instance
from manyheads.rewards.document import Refused, read_document
from manyheads.rewards.finding import Finding, errors
from manyheads.rewards.validate import catalogue_hash, check_text, check_time
from manyheads_glam.amounts import MeasuredRange
from manyheads_glam.catalogue import read
from manyheads_glam.decisions import Decision
from manyheads_glam.meaning import SERIOUS, Evidence
from manyheads_glam.prompt import write_prompt
from manyheads_glam.surroundings import Surroundings
from manyheads_glam.transcript import RecordingModel
from manyheads_glam.understanding import nothing_measured

LONGEST = 65_536
"""characters of a reply that are looked at"""


class Draft(NamedTuple):
    """A specification that passed all checks, where it came from, and the warnings."""

    spec: RewardSpec
    decisions: tuple[Decision, ...]
    findings: tuple[Finding, ...]


def draft(
    goal: str,
    instance: Instance,
    model: RecordingModel,
    measured: Mapping[str, MeasuredRange],
    around: Surroundings,
    attempts: int,
    max_tokens: int,
    evidence: Evidence | None = None,
    imagined: str = "",
) -> Draft:
    """Asks at most `attempts` times, each time with what was wrong before; then a ManyheadsError for the person.

    A specification that teaches nothing on what was recorded (`evidence`) goes back too, but not the last one.
    """
    if not read(instance.signals):
        raise ManyheadsError(nothing_measured(instance))
    schema = constrained(instance)
    refused: tuple[str, list[Finding]] | None = None
    findings: list[Finding] = []
    for attempt in range(1, attempts + 1):
        prompt = write_prompt(goal, instance, measured, around, model.embed, refused, imagined)
        reply = model.generate(prompt, schema, max_tokens)
        spec, findings = check_reply(reply, instance)
        if spec is not None and evidence is not None:
            findings = [*findings, *evidence.check(spec)]
            if attempt < attempts and (serious := [one for one in findings if one.code in SERIOUS]):
                refused = (reply, serious)
                model.calls += [{"call": "refusal", "text": str(refusal)} for refusal in serious]
                continue
        if spec is not None:
            spec = spec.model_copy(update={"goal": goal, "catalogue": None})
            spec = spec.model_copy(update={"catalogue": catalogue_hash(spec, instance.signals)})
            why = f"drafted by {model.name}, attempt {attempt} of {attempts}"
            decision = Decision(goal, "the whole specification", "drafted", "R3 draft", 0.0, why)
            return Draft(spec, (decision,), tuple(findings))
        refused = (reply, findings)
        model.calls += [{"call": "refusal", "text": str(refusal)} for refusal in errors(findings)]
    raise given_up(goal, attempts, errors(findings))


def given_up(goal: str, attempts: int, refusals: list[Finding]) -> ManyheadsError:
    """What a person sees when no attempt passed."""
    listing = "\n".join(f"  {refusal}" for refusal in refusals)
    count = f"{attempts} attempt{'' if attempts == 1 else 's'}"
    return ManyheadsError(
        f"No valid specification for {goal!r} came of {count}. What was wrong with the last:\n{listing}\n"
        "Say the goal in other words, or write the task file by hand (`manyheads reward check FILE` checks it)."
    )


def check_reply(reply: str, instance: Instance) -> tuple[RewardSpec | None, list[Finding]]:
    """The specification in a reply and all that is wrong with it; None where anything is an error.

    Models wrap their JSON in prose, code fences and thoughts; null stands for a key that is left out; the
    environment's name is put in. All else is held to the grammar as strictly as a file.
    """
    text = json_object(reply)
    if text is None:
        message = "The answer holds no whole JSON object. Answer with one JSON object alone."
        return None, [Finding("L0_JSON", "error", "", message)]
    try:
        data = {**_without_nulls(read_document(text)), "environment": instance.environment.name}
    except Refused as problem:
        return None, [Finding(problem.code, "error", problem.path, problem.message)]
    spec, findings = check_text(json.dumps(data), instance.signals)
    if spec is not None and (untimed := check_time(spec, instance)):
        spec, findings = None, [*findings, *untimed]
    if spec is not None and spec.success is None:
        findings = [
            *findings,
            Finding("L1_SCHEMA", "error", "success", "Say when the goal is reached, under `success`."),
        ]
        spec = None
    return spec, findings


def json_object(reply: str) -> str | None:
    """The JSON object in a reply, as it is written there: the longest with a reward, else the first; None without any.

    What is left whole inside an object that was cut off is not taken for the answer.
    """
    text = re.sub(r"<think>.*?</think>", "", reply[:LONGEST], flags=re.DOTALL)
    first = at = text.find("{")
    found = ""
    while at >= 0:
        try:
            data, end = json.JSONDecoder().raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if at == first or data.keys() & {"reward", "stages"}:
                found = max(found, text[at:end], key=lambda one: ('"reward"' in one, len(one)))
        at = text.find("{", end)
    return found or None


def constrained(instance: Instance) -> dict[str, Any]:
    """The grammar as a JSON schema over this instance's signals alone."""
    schema: dict[str, Any] = _plain(RewardSpec.model_json_schema())
    names = [signal.name for signal in instance.signals if signal.name != "reward"]
    schema["$defs"]["SignalValue"]["properties"]["signal"] = {"type": "string", "enum": names}
    for name in ("version", "environment", "catalogue", "goal"):
        schema["properties"].pop(name)
    schema["required"] = ["success"]
    return schema


def _plain(node: Any) -> Any:
    """Without keys that only describe; `oneOf` as `anyOf`, since every member has its own key."""
    if isinstance(node, list):
        return [_plain(child) for child in node]
    if not isinstance(node, dict):
        return node
    kept = {
        key: value for key, value in node.items() if key not in ("discriminator", "description", "default", "title")
    }
    return {("anyOf" if key == "oneOf" else key): _plain(value) for key, value in kept.items()}


def _without_nulls(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_nulls(child) for child in node]
    if isinstance(node, dict):
        return {key: _without_nulls(value) for key, value in node.items() if value is not None}
    return node
