"""Answers `manyheads.goal`: what the goal command does, for a script."""

from __future__ import annotations

from manyheads import Goal, GoalRequest, Reason
from manyheads.rewards.describe import describe
from manyheads_glam.models.choose import choose
from manyheads_glam.models.settings import chosen
from manyheads_glam.session import Session
from manyheads_glam.task_files import task_file


def answer(request: GoalRequest) -> Goal:
    """The goal's specification and task, with the reasons for every part."""
    limits, _ = chosen({"model": request.model, **request.limits})
    model = choose(limits, lambda text: None, True)
    with Session(request.world, request.environment, request.options, limits, model) as session:
        written = session.write(request.sentence)
        seen, instance, folder = session.look(written.spec), session.instance, session.folder
    return Goal(
        sentence=request.sentence,
        spec=written.spec,
        task=task_file(written.spec, instance, folder),
        description=describe(written.spec, instance.signals),
        reasons=tuple(Reason(one.about, one.question, one.answer, one.step, one.why) for one in written.decisions),
        warnings=tuple(map(str, written.findings)),
        ignored=written.ignored,
        familiar=None if seen is None else seen.familiar,
        journal=written.journal,
    )
