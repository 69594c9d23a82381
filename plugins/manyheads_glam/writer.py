"""The writer: a sentence in, a checked reward specification out, with the reasons for every part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from manyheads import LanguageModel, ManyheadsError
from manyheads.environment.contract import Instance
from manyheads.rewards.finding import Finding, errors
from manyheads.rewards.nodes import (
    Between,
    Compare,
    Constant,
    Expression,
    Join,
    Nary,
    Predicate,
    SignalValue,
    Success,
    Unary,
)
from manyheads.rewards.spec import Combine, Effort, Ramp, RewardSpec, Sigmoid, Term, Tolerance
from manyheads.rewards.validate import catalogue_hash, check
from manyheads_glam.amounts import MeasuredRange, Target, target
from manyheads_glam.catalogue import read
from manyheads_glam.components import components, measured_length
from manyheads_glam.decisions import Decision
from manyheads_glam.drafting import draft, given_up
from manyheads_glam.meaning import Evidence
from manyheads_glam.surroundings import Surroundings
from manyheads_glam.transcript import RecordingModel
from manyheads_glam.understanding import Understanding, Understood, understand

ATTEMPTS = 3
TOKENS = 4000
NOTHING_KNOWN = Surroundings()
GENTLE = Effort(weight=0.2)
FALL: Sigmoid = "long_tail"
"""how reward falls outside the bounds: a bell is so flat there that heads stay where they no longer succeed"""
SLACK = 0.1
"""success forgives this share of a term's margin, except where the sentence gave the number"""


@dataclass(frozen=True)
class Written:
    """A specification that passed all checks, and how it came about."""

    spec: RewardSpec
    decisions: tuple[Decision, ...]
    findings: tuple[Finding, ...]
    """warnings"""
    ignored: tuple[str, ...] = ()
    journal: tuple[Mapping[str, Any], ...] = field(default=())
    """every prompt and answer, then the decisions"""


def write(
    goal: str,
    instance: Instance,
    model: LanguageModel,
    measured: Mapping[str, MeasuredRange] | None = None,
    around: Surroundings = NOTHING_KNOWN,
    attempts: int = ATTEMPTS,
    max_tokens: int = TOKENS,
    evidence: Evidence | None = None,
    imagined: str = "",
) -> Written:
    """Writes the specification of a goal for an instance; `measured` are a world's quantiles of its signals.

    Refused attempts leave out the signals at fault, or go back to a model that drafts, which is told what is known
    `around` the signals and writes at most `max_tokens` each time. After the last attempt the refusals go to the
    person as a ManyheadsError. With `evidence` the specification is held against what was recorded (L3, L4), and what
    a model that decides makes of other wordings and of the opposite goal, too (L5). `imagined` tells a model that
    drafts what its earlier specifications would do.
    """
    goal = goal.strip()
    if not goal or len(goal) > 500:
        raise ManyheadsError(f"A goal is a sentence of 1 to 500 characters; this one has {len(goal)}.")
    if any("\ud800" <= letter <= "\udfff" for letter in goal):
        raise ManyheadsError(f"A goal is text in Unicode; {goal!r} holds half a character. Type it again.")
    recorded = RecordingModel(model)
    if getattr(model, "drafts", True):
        drafted = draft(goal, instance, recorded, measured or {}, around, attempts, max_tokens, evidence, imagined)
        return Written(*drafted, journal=_journal(recorded, drafted.decisions))
    banned: frozenset[str] = frozenset()
    refusals: list[Finding] = []
    for attempt in range(1, attempts + 1):
        try:
            understood = understand(goal, instance, recorded, banned)
        except ManyheadsError:
            if not refusals:
                raise
            raise given_up(goal, attempt - 1, refusals) from None  # nothing is left that the goal could be about
        spec, amounts = compose(goal, instance, understood, measured or {}, around.episode_steps)
        findings = check(spec, instance.signals)
        refusals = errors(findings)
        if not refusals:
            if evidence is not None:
                again = partial(_decided, instance, recorded, measured or {})
                findings += [*evidence.check(spec), *evidence.meaning(goal, spec, again)]
            decisions = understood.decisions + amounts
            journal = _journal(recorded, decisions)
            return Written(spec, decisions, tuple(findings), understood.ignored, journal)
        recorded.calls += [{"call": "refusal", "text": str(refusal)} for refusal in refusals]
        banned |= _at_fault(spec, refusals)
        if banned >= {reading.name for reading in read(instance.signals)}:
            break
    raise given_up(goal, attempt, refusals)


def _decided(
    instance: Instance, recorded: RecordingModel, measured: Mapping[str, MeasuredRange], goal: str
) -> RewardSpec:
    """What a model that decides makes of a goal, unchecked."""
    return compose(goal, instance, understand(goal, instance, recorded), measured)[0]


def _journal(recorded: RecordingModel, decisions: tuple[Decision, ...]) -> tuple[Mapping[str, Any], ...]:
    return (*recorded.calls, *recorded.usage(), *(decision.record() for decision in decisions))


def _at_fault(spec: RewardSpec, refusals: list[Finding]) -> frozenset[str]:
    """The signals of the terms that refusals point at; all of them where a refusal points at the whole."""
    [(_, total)] = spec.totals
    terms = total.of if isinstance(total, Combine) else [total]
    wrong = frozenset(
        name
        for i, term in enumerate(terms)
        for name in _names(term)
        if any(refusal.path.startswith(f"reward.of[{i}]") for refusal in refusals)
    )
    return wrong or spec.signals


def _names(term: Any) -> frozenset[str]:
    return RewardSpec(environment="", reward=term).signals


def compose(
    goal: str,
    instance: Instance,
    understood: Understanding,
    measured: Mapping[str, MeasuredRange],
    episode_steps: int | None = None,
) -> tuple[RewardSpec, tuple[Decision, ...]]:
    """The specification of what was understood, and where each number comes from.

    Success is held for at most half of an episode.
    """
    targets = [(one, *_target(one, instance, measured)) for one in understood.demands]
    terms = [_term(x, where) for _, x, where in targets]
    wanted = [_success(x, where) for _, x, where in targets]
    controls = any(signal.name.startswith("control[") for signal in instance.signals)
    spec = RewardSpec(
        environment=instance.environment.name,
        goal=goal,
        reward=terms[0] if len(terms) == 1 else Combine(combine="product", of=list(terms)),
        effort=GENTLE if understood.gentle and controls else None,
        success=Success(
            when=wanted[0] if len(wanted) == 1 else Join(op="all", of=wanted),
            held_for=min(understood.held_for, max(1, (episode_steps or 1 << 20) // 2)),
        ),
    )
    spec = spec.model_copy(update={"catalogue": catalogue_hash(spec, instance.signals)})
    amounts = [
        Decision(one.aspect.text, f"how much {one.reading.name}", _bounds(where), "R0 lexicon", 0.0, where.origin)
        for one, _, where in targets
    ]
    if understood.gentle:
        why = "the goal asks for little effort" if controls else "asked for, but the environment measures no control"
        amounts.append(Decision(goal, "gentle", "yes" if controls else "no", "R0 lexicon", 0.0, why))
    return spec, tuple(amounts)


def _target(one: Understood, instance: Instance, measured: Mapping[str, MeasuredRange]) -> tuple[Expression, Target]:
    """What a demand is about and where that should be."""
    parts = components(one, instance.signals)
    where = target(one.reading, one.aspect, one.wanted, measured_length(parts, measured))
    value = SignalValue(signal=one.reading.name)
    still = where.of == "value" and where.lower is not None and where.lower == -(where.upper or 0.0)
    if len(parts) > 1 and (still or where.of == "size"):
        length = Nary(op="norm", of=[SignalValue(signal=name) for name in parts])
        return length, replace(where, lower=None) if still else where
    if where.of == "size":
        return Unary(op="abs", of=value), where
    if where.of == "turn":
        turned = Nary(op="diff", of=[value, Constant(constant=_tidy(where.anchor))])
        return Unary(op="wrap_angle", of=turned), where
    return value, where


def _term(x: Expression, where: Target) -> Term:
    margin = _tidy(max(where.margin, 1e-6))
    if where.rising and where.lower is not None:
        return Term(x=x, to=Ramp(shape="ramp", low=_tidy(where.lower - margin), high=_tidy(where.lower)))
    if where.rising and where.upper is not None:
        return Term(x=x, to=Ramp(shape="ramp", low=_tidy(where.upper + margin), high=_tidy(where.upper)))
    bounds = {"lower": _tidy(where.lower), "upper": _tidy(where.upper)}
    return Term(x=x, to=Tolerance(shape="tolerance", **bounds, margin=margin, sigmoid=FALL))


def _success(x: Expression, where: Target) -> Predicate:
    slack = 0.0 if where.exact else (0.5 if where.rising else SLACK) * where.margin
    lower = None if where.lower is None else _tidy(where.lower - slack)
    upper = None if where.upper is None else _tidy(where.upper + slack)
    if lower is not None and upper is not None:
        return Between(op="between", x=x, lower=lower, upper=upper)
    if lower is not None:
        return Compare(op="ge", x=x, than=lower)
    assert upper is not None  # a target has at least one bound
    return Compare(op="le", x=x, than=upper)


def _tidy(value: Any) -> Any:
    """Four significant digits, as a person would write it."""
    return None if value is None else float(f"{value:.4g}")


def _bounds(where: Target) -> str:
    size = {"size": "size ", "turn": f"turn from {where.anchor:.4g} ", "value": ""}[where.of]
    if where.lower is None:
        return f"{size}at most {where.upper:.4g}"
    if where.upper is None:
        return f"{size}at least {where.lower:.4g}"
    return f"{size}between {where.lower:.4g} and {where.upper:.4g}"
