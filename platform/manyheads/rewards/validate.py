"""Checks a reward specification: what is wrong, by stable codes that people and language models act on.

L0: size and syntax of the text. L1: the grammar. L2: meaning, against an environment's signals.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from manyheads import atomic
from manyheads.environment.contract import Instance, Signal
from manyheads.errors import ManyheadsError
from manyheads.rewards import meaning
from manyheads.rewards.document import Refused, read_document
from manyheads.rewards.duration import check_duration
from manyheads.rewards.finding import Finding, errors, under
from manyheads.rewards.nodes import Node, Success
from manyheads.rewards.spec import RewardSpec, control_names, uses_rates
from manyheads.rewards.upgrade import upgrade

M = TypeVar("M", bound=Node)
MAX_FILE = 1_000_000
"""bytes of a file that is read; a longer text than `document.MAX_BYTES` then has its own code"""


def check_text(text: str, signals: Sequence[Signal] | None = None) -> tuple[RewardSpec | None, list[Finding]]:
    """The specification in a text and all that is wrong with it; None where anything is an error.

    The text is YAML or JSON: a specification, or a task file whose reward is one (and whose `success`, if it
    says one, takes the place of the specification's). Without `signals` only levels L0 and L1 are checked.
    """
    try:
        data = read_document(text)
        inner, at = _specification(data)
    except Refused as refused:
        return None, [Finding(refused.code, "error", refused.path, refused.message)]
    try:
        inner = upgrade(inner)
    except Refused as refused:
        return None, [under(at, Finding(refused.code, "error", refused.path, refused.message))]
    spec, findings = _parse(RewardSpec, inner, at)
    if spec is not None and signals is not None:
        findings = [under(at, finding) for finding in check(spec, signals)]
    if at and data.get("success") is not None:
        success, problems = _parse(Success, data["success"], "success")
        findings += problems
        if success is not None and signals is not None:
            findings += check_success(success, signals)
        if spec is not None:
            spec = spec.model_copy(update={"success": success})
    steps = data.get("episode_steps") if at else None
    if spec is not None and type(steps) is int:
        findings += [under(at, finding) for finding in check_duration(spec, steps)]
    return (None if errors(findings) else spec), findings


def check(spec: RewardSpec, signals: Sequence[Signal]) -> list[Finding]:
    """All that is wrong with a specification for an environment that measures these signals (level L2)."""
    catalogue = {signal.name: signal for signal in signals}
    findings = list(meaning.unknown_signals(spec, catalogue))
    if spec.effort is not None and not control_names(catalogue):
        message = "An effort reads the signals control[0], control[1], …; this environment has none. Leave it out."
        findings.append(Finding("L2_NO_CONTROL", "error", "effort", message))
    if not errors(findings):
        findings += meaning.units(spec, catalogue)
        findings += meaning.reach(spec, catalogue)
        if spec.catalogue is not None and spec.catalogue != catalogue_hash(spec, signals):
            message = (
                f"The signals are not those that this specification was written for (hash {spec.catalogue}, "
                f"now {catalogue_hash(spec, signals)}). Read their descriptions again, then correct the hash."
            )
            findings.append(Finding("L2_CATALOGUE", "error", "catalogue", message))
        if "reward" in spec.signals:
            message = "`reward` is the simulator's own: only experience of this very task can be labelled with it."
            findings.append(Finding("L2_OWN_REWARD", "warning", "reward", message))
    return findings


def check_success(success: Success, signals: Sequence[Signal], at: str = "success") -> list[Finding]:
    """All that is wrong with a task's success predicate for an environment that measures these signals."""
    catalogue = {signal.name: signal for signal in signals}
    findings = list(meaning.unknown_signals(success, catalogue))
    if not findings:
        findings = [*meaning.units(success, catalogue), *meaning.reach(success, catalogue)]
    return [under(at, finding) for finding in findings]


def catalogue_hash(spec: RewardSpec, signals: Sequence[Signal]) -> str:
    """Binds a specification to what its signals mean: name, unit, kind and description of each."""
    controls = control_names([signal.name for signal in signals]) if spec.effort is not None else []
    used = spec.signals | set(controls)
    rows = sorted((s.name, s.unit, s.kind, s.description) for s in signals if s.name in used)
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()[:32]


def read_spec(path: Path) -> RewardSpec:
    """The specification in a file, checked as far as that is possible without an environment."""
    spec, findings = check_text(read_text(path))
    if spec is None:
        raise ManyheadsError(f"{path} holds no valid reward specification.\n{_listing(findings)}")
    return spec


def read_text(path: Path) -> str:
    """The text of a specification or task file; raises ManyheadsError that names the file."""
    return atomic.read_text(path, MAX_FILE, "specification or task file")


def check_instance(spec: RewardSpec, instance: Instance) -> list[Finding]:
    """Whether a specification is written for this instance's environment, which tells the time if there are rates."""
    name, findings = instance.environment.name, []
    if spec.environment != name:
        message = f"This specification is written for {spec.environment}, not for {name}."
        findings.append(Finding("L2_ENVIRONMENT", "error", "environment", message))
    return findings + check_time(spec, instance)


def check_time(node: Node, instance: Instance, at: str = "") -> list[Finding]:
    """Whether the environment says how long a step takes, where something is per second."""
    if instance.step_seconds is not None or not uses_rates(node):
        return []
    message = (
        f"{instance.environment.name} does not say how long a step takes, so there is no rate per second. "
        "Compare a signal that is a speed, or let the environment declare `step_seconds`."
    )
    return [Finding("L2_TIME", "error", at, message)]


def require_sound(spec: RewardSpec, instance: Instance) -> None:
    """Raises ManyheadsError with every finding that forbids this specification for this instance."""
    if wrong := errors([*check_instance(spec, instance), *check(spec, instance.signals)]):
        raise ManyheadsError(f"The reward specification does not fit {instance.key}.\n{_listing(wrong)}")


def _listing(findings: Iterable[Finding]) -> str:
    return "\n".join(f"  {finding}" for finding in findings)


# --- L1: the grammar --------------------------------------------------------------------------------------


def _specification(data: Any) -> tuple[Any, str]:
    """The specification in a document, and the path to it: the whole, or a task file's `reward.spec`."""
    if data is None:
        raise Refused("L1_SCHEMA", f"The text is empty; expected the keys {', '.join(RewardSpec.model_fields)}.")
    reward = data.get("reward") if isinstance(data, dict) else None
    if not isinstance(reward, dict) or "source" not in reward:
        return data, ""
    if reward["source"] != "spec" or "spec" not in reward:
        message = f"This task file's reward is {reward['source']!r}; expected `source: spec` and a `spec`."
        raise Refused("L1_SCHEMA", message, "reward")
    return reward["spec"], "reward.spec"


def _parse(model: type[M], data: Any, at: str) -> tuple[M | None, list[Finding]]:
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        findings = []
        for problem in error.errors():
            code = problem["type"] if _own(problem) else "L1_SCHEMA"
            inner = under(_path(problem["loc"]), Finding(code, "error", _inside(problem), _message(problem)))
            findings.append(under(at, inner))
        return None, findings


def _path(location: tuple[int | str, ...]) -> str:
    """Pydantic's location as a path in the document: without the names of union members."""
    path = ""
    for i, part in enumerate(location):
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in UNION_MEMBERS or (part == "held_for" and i == len(location) - 1):  # success has such a key
            path += f".{part}" if path else part
    return path


def _inside(problem: Any) -> str:
    """How the grammar's own check leads on from the model in which it failed."""
    return str(problem.get("ctx", {}).get("path", "")) if _own(problem) else ""


def _own(problem: Any) -> bool:
    """Whether a check of the grammar itself failed."""
    return bool(re.match(r"L\d_", problem["type"]))


UNION_MEMBERS = frozenset(
    (
        *("SignalValue", "Constant", "Unary", "Nary", "Rate", "Window", "Term", "Combine"),
        *("lt", "le", "gt", "ge", "between", "all", "any", "not", "held_for"),
        *("tolerance", "ramp", "progress", "indicator", "gate", "penalty", "terminate"),
    )
)


def _message(problem: Any) -> str:
    kind, given = problem["type"], problem["input"]
    if kind == "extra_forbidden":
        return "There is no such key here; leave it out."
    if kind == "missing":
        return "This key is missing."
    message = str(problem["msg"]).rstrip(".")
    if isinstance(given, (str, int, float, bool)) or given is None:
        message += f"; found {given!r:.60}"
    return f"{message}."
