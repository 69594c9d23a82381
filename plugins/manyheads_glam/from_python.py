"""Answers `manyheads.goal`: what the goal command does, for a script."""

from __future__ import annotations

from manyheads import Goal, GoalRequest, Reason
from manyheads.rewards.describe import describe
from manyheads.storage.world_folder import WorldFolder
from manyheads_glam.experience import look, ranges
from manyheads_glam.models.choose import choose
from manyheads_glam.models.settings import chosen
from manyheads_glam.surroundings import surroundings
from manyheads_glam.task_files import episode_steps, instance_for, task_file
from manyheads_glam.writer import NOTHING_KNOWN, write


def answer(request: GoalRequest) -> Goal:
    """The goal's specification and task, with the reasons for every part."""
    folder = WorldFolder.open(request.world) if request.world else None
    instance = instance_for(folder, request.environment, request.options)
    limits, _ = chosen({"model": request.model, **request.limits})
    model = choose(limits, lambda text: None, True)
    replay = folder.replay(read_only=True) if folder else None
    try:
        measured = ranges(replay, instance.dynamics_key) if replay else {}
        drafts = getattr(model, "drafts", True)
        around = surroundings(instance, episode_steps(instance, folder)) if drafts else NOTHING_KNOWN
        written = write(request.sentence, instance, model, measured, around, limits.tries, limits.max_tokens)
        seen = look(replay, instance.dynamics_key, written.spec, instance.step_seconds) if replay else None
    finally:
        if replay:
            replay.close()
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
