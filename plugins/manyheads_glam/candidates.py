"""Several specifications of one goal, judged by what their heads would do in a world's imagination."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyheads import ManyheadsError, RewardSpec, Signal, Success, load
from manyheads.environment.contract import Instance
from manyheads.rewards.describe import summarize
from manyheads.rewards.finding import errors
from manyheads.rewards.sources import SpecSource, successes
from manyheads.rewards.validate import check
from manyheads_glam.decisions import Question
from manyheads_glam.meaning import SERIOUS
from manyheads_glam.session import Session
from manyheads_glam.task_files import task_file
from manyheads_glam.transcript import RecordingModel
from manyheads_glam.understanding import understand
from manyheads_glam.writer import Written, compose

SURVIVORS = 4
"""of a round, whose heads are trained"""
TRIES = 6
"""samples for each candidate that a model of decisions is asked for"""
POINTS = 10
"""values that are told of each signal along the way"""


@dataclass(frozen=True)
class Where:
    """Which runner trains candidates' heads, with its options."""

    runner: str = "local"
    options: Mapping[str, Any] = field(default_factory=dict)


HERE = Where()


@dataclass(frozen=True)
class Candidate:
    """A specification, and how its head fares in imagination by criteria that leave out its own reward."""

    name: str
    written: Written
    success: float
    """share of imagined episodes that succeed, as the other candidates define success"""
    others: float
    """what the others' rewards pay, from 0 (as little as any candidate gets) to 1 (as much), mean over them"""
    violations: float
    """share of steps that violate the others' constraints"""
    disagreement: float
    """of the ensemble about what the others' rewards pay, as a share of the most that any pays, at most 1"""
    told: str
    """statistics for the writer"""

    @property
    def score(self) -> float:
        """What candidates are ranked by."""
        return self.success + self.others - self.violations - self.disagreement

    def record(self) -> dict[str, Any]:
        """As plain data, for the journal."""
        numbers = {name: round(getattr(self, name), 4) for name in ("score", "success", "others")}
        numbers |= {name: round(getattr(self, name), 4) for name in ("violations", "disagreement")}
        spec = self.written.spec.model_dump(mode="json", exclude_defaults=True)
        return {"call": "candidate", "name": self.name, **numbers, "spec": spec, "told": self.told}


def drawn(goal: str, session: Session, count: int, told: str, random: np.random.Generator) -> list[Written]:
    """So many different specifications of a goal, the writer's own first, as far as it has so many."""
    found = {}
    first = session.write(goal, told)
    found[first.spec.fingerprint] = first
    for _ in range((count - 1) * (1 if getattr(session.model, "drafts", True) else TRIES)):
        if len(found) == count:
            break
        try:
            one = _another(goal, session, told, [*found.values()], random)
        except ManyheadsError:
            continue
        found.setdefault(one.spec.fingerprint, one)
    return list(found.values())


def _another(goal: str, session: Session, told: str, before: Sequence[Written], random: np.random.Generator) -> Written:
    """A model that drafts is shown what it wrote; one that decides is sampled instead of taken at its best."""
    if getattr(session.model, "drafts", True):
        shown = "\n".join(one.spec.canonical_json for one in before)
        return session.write(goal, f"{told}\nThese stand already; write one that differs in what it pays:\n{shown}")
    model = _Sampled(session.model, random)
    understood = understand(goal, session.instance, model)
    spec, amounts = compose(goal, session.instance, understood, session.measured, session.steps)
    findings = check(spec, session.instance.signals)
    if wrong := errors(findings):
        raise ManyheadsError(str(wrong[0]))
    decisions = understood.decisions + amounts
    return Written(spec, decisions, tuple(findings), understood.ignored, (*(one.record() for one in decisions),))


class _Sampled(RecordingModel):
    """Decisions drawn by what speaks for each option."""

    def __init__(self, model: Any, random: np.random.Generator) -> None:
        super().__init__(model)
        self._random = random

    def order(self, question: Question, totals: Sequence[float]) -> list[int]:
        noisy = [total + self._random.gumbel() for total in totals]
        return sorted(range(len(totals)), key=lambda i: -noisy[i])


def survivors(candidates: Sequence[Written], session: Session) -> list[Written]:
    """The candidates against which no recorded row speaks seriously (L3, L4), those with fewest findings first."""
    judged = []
    for one in candidates:
        found = session.evidence.check(one.spec) if session.evidence else []
        judged.append((any(finding.code in SERIOUS for finding in found), len(found), one))
    judged.sort(key=lambda row: row[:2])
    sound = [one for serious, _, one in judged if not serious]
    return (sound or [judged[0][2]])[:SURVIVORS]


def judged(
    name: str, written: Sequence[Written], session: Session, updates: int, where: Where = HERE
) -> list[Candidate]:
    """The candidates by what their heads do in imagination, the best first; the heads are deleted again."""
    assert session.folder is not None
    world = load(session.folder.path)
    labels = [f"{name}.candidate{i + 1}" for i in range(len(written))]
    files = [task_file(one.spec, session.instance, session.folder) for one in written]
    try:
        tasks = [file.resolve(label) for label, file in zip(labels, files, strict=True)]
        plays = world.imagine(tasks, updates, runner=where.runner, runner_options=where.options)
    finally:
        for label in labels:
            if label in world.heads:
                world.delete_head(label)
    return ranked(dict(zip(labels, written, strict=True)), plays, session.instance)


def ranked(written: Mapping[str, Written], plays: Mapping[str, Any], instance: Instance) -> list[Candidate]:
    """Candidates by the names of their tasks, ranked by what `SharedWorld.imagine` returned of them, the best first."""
    labels = [*written]
    pays = np.array([[plays[mine].expected[theirs].mean for theirs in labels] for mine in labels])
    unsure = np.array([[plays[mine].expected[theirs].disagreement for theirs in labels] for mine in labels])
    span = np.maximum(np.ptp(pays, axis=0), 1e-6)
    shares = (pays - pays.min(axis=0)) / span
    doubts = np.minimum(1.0, unsure / np.maximum(np.abs(pays).max(axis=0), 1e-6))
    found = []
    for i, (label, one) in enumerate(written.items()):
        rows = plays[label].signals
        others = [other.spec for name, other in written.items() if name != label] or [one.spec]
        rest = [j for j in range(len(labels)) if j != i] or [i]
        found.append(
            Candidate(
                label,
                one,
                float(np.mean([succeeds(spec, rows, instance.step_seconds) for spec in others])),
                float(shares[i, rest].mean()),
                float(np.mean([_violates(spec, rows) for spec in others])),
                float(doubts[i, rest].mean()),
                f"{_said(one.spec, instance.signals)}: {statistics(one.spec, rows)}",
            )
        )
    return sorted(found, key=lambda candidate: -candidate.score)


def _said(spec: RewardSpec, signals: Sequence[Signal]) -> str:
    return f"{len(spec.stages)} stages" if spec.stages is not None else summarize(spec, signals)


def succeeds(spec: RewardSpec, rows: Mapping[str, NDArray[np.float64]], step_seconds: float | None) -> float:
    """Share of episodes (T, N) that succeed by a specification's own predicate; 0 without one."""
    if spec.success is None:
        return 0.0
    return float(np.asarray(successes(spec.success, rows, step_seconds=step_seconds)).any(axis=0).mean())


def _violates(spec: RewardSpec, rows: Mapping[str, NDArray[np.float64]]) -> float:
    """Share of rows (T, N) in which a constraint of a specification holds."""
    if not spec.constraints:
        return 0.0
    each = [np.asarray(successes(Success(when=one.when), rows)) for one in spec.constraints]
    return float(np.any(each, axis=0).mean())


def statistics(spec: RewardSpec, rows: Mapping[str, NDArray[np.float64]]) -> str:
    """Each signal that a specification reads along an imagined episode: ten values, least, mean and greatest."""
    told = {}
    for name in sorted(spec.signals & rows.keys()):
        along = rows[name].mean(axis=1)
        points = along[np.linspace(0, len(along) - 1, POINTS).round().astype(int)]
        numbers = {"least": rows[name].min(), "mean": rows[name].mean(), "greatest": rows[name].max()}
        told[name] = {"along": [_short(x) for x in points]} | {key: _short(value) for key, value in numbers.items()}
    earned = np.asarray(SpecSource(spec).label(rows).reward) if not spec.memory_size else None
    if earned is not None:
        told["reward a step"] = {"mean": _short(float(earned[1:].mean()))}
    return json.dumps(told)


def _short(value: Any) -> float:
    return float(f"{float(value):.3g}")
