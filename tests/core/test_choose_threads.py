"""The number of CPU threads follows what is measured, and changes only where it is clearly worth it."""

from collections.abc import Sequence

import pytest
import torch

from manyheads.execution import choose_threads
from manyheads.execution.choose_threads import ThreadChoice, ThreadWatch, fastest_threads, speeds


def test_the_fastest_is_taken_and_what_is_in_use_stays_unless_clearly_slower() -> None:
    def measure(candidates: Sequence[int]) -> dict[int, float]:
        assert list(candidates) == [1, 2, 4]
        return {1: 90.0, 2: 100.0, 4: 60.0}

    assert fastest_threads(4, measure=measure) == 2
    assert fastest_threads(4, now=1, measure=measure) == 1
    assert fastest_threads(4, now=4, measure=measure) == 2
    assert fastest_threads(4, now=8, measure=measure) == 8
    assert fastest_threads(1) == 1


def test_speeds_are_measured_with_each_number_and_leave_it_as_it_was() -> None:
    before = torch.get_num_threads()
    found = speeds([1, 2])
    assert found.keys() == {1, 2}
    assert all(rate > 0 for rate in found.values())
    assert torch.get_num_threads() == before


def test_a_machine_that_becomes_busy_is_noticed_once_it_is_slow_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def fastest(most: int, now: int) -> int:
        asked.append(now)
        return 1

    monkeypatch.setattr(choose_threads, "fastest_threads", fastest)
    now = 0.0
    watch = ThreadWatch(2, clock=lambda: now)

    def updates(count: int, seconds: float, threads: int = 2) -> list[int]:
        nonlocal now
        found = []
        for _ in range(count):
            now += seconds
            found.append(watch.better(seconds, threads))
        return found

    assert updates(200, 1.0) == [2] * 200
    assert not asked  # as fast as ever
    busy = updates(40, 2.0)
    assert asked == [2]
    assert busy.count(1) == 1
    assert updates(100, 1.5, threads=1)[-1] == 1  # with fewer than there are, it is measured again now and then
    assert asked == [2, 1]


def test_a_run_has_the_number_that_was_asked_for_and_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    choice = ThreadChoice(3, "cpu")
    assert torch.get_num_threads() == 3
    assert choice.changed(99.0) == ""
    choice.restore()
    assert torch.get_num_threads() == before

    torch.set_num_threads(2)
    monkeypatch.setattr(choose_threads, "fastest_threads", lambda most, now=None: now or most)
    measured = ThreadChoice(0, "cpu", before=1)
    assert torch.get_num_threads() == 1
    monkeypatch.setattr(measured._watch, "better", lambda seconds, now: 2)
    assert measured.changed(1.0) == "2 CPU threads are faster than 1 now: continuing with that."
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
