"""Rounds of candidates: written, judged in imagination, told to the writer; the best one in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from manyheads_glam.candidates import HERE, Candidate, Where, drawn, judged, survivors
from manyheads_glam.session import Session
from manyheads_glam.writer import Written

MOST_ROUNDS = 3


def compete(
    goal: str,
    name: str,
    session: Session,
    count: int,
    rounds: int,
    updates: int,
    say: Callable[[str], None],
    seed: int = 0,
    where: Where = HERE,
) -> Written:
    """The specification whose head does best in imagination, of `count` in each of `rounds`.

    What the heads of a round would do is told to a model that drafts before the next; the best so far competes again.
    Every candidate goes into the journal. Raises ManyheadsError where the world has not been trained.
    """
    assert session.folder is not None
    random, told, best = np.random.default_rng(seed), "", list[Candidate]()
    journal: list[dict[str, object]] = []
    for number in range(1, rounds + 1):
        written = drawn(goal, session, count, told, random)
        kept = survivors(written, session)
        if best and best[0].written.spec.fingerprint not in {one.spec.fingerprint for one in kept}:
            kept = [best[0].written, *kept[:-1]] if len(kept) == 4 else [best[0].written, *kept]
        say(
            f"Round {number} of {rounds}: {len(written)} different specifications, {len(kept)} of them to imagine; "
            f"{updates} updates of their heads, no environment steps."
        )
        best = judged(f"{name}.round{number}", kept, session, updates, where)
        journal += [{"round": number, **one.record()} for one in best]
        for one in best:
            say(f"  {one.score:+.2f}  {one.told.partition(': {')[0]}")
        told = "\n".join(f"Ranked {i + 1} of {len(best)}. {one.told}" for i, one in enumerate(best))
        if not getattr(session.model, "drafts", True) and number < rounds:
            say("A model that decides can't be told what its specifications would do: one round is all.")
            break
    return replace(best[0].written, journal=(*best[0].written.journal, *journal))
