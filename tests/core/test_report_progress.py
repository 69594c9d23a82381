"""Progress says how far, how fast and how long still, also for resumed work and without a terminal."""

import io
import json
import math
import time

import pytest
from rich.console import Console

from manyheads.report.progress import Progress, duration


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def plain():
    return Console(file=io.StringIO(), force_terminal=False, width=200)


def test_rate_and_time_left():
    clock = Clock()
    with Progress(1000, "training", console=plain(), clock=clock) as progress:
        clock.now = 100.0  # what had to start first
        progress.advance(4)
        assert progress.state() == "4 / 1,000 steps"
        clock.now = 109.6
        progress.advance(96)
        assert progress.rate == pytest.approx(10.0)
        assert progress.seconds_left == pytest.approx(90.0)
        assert progress.state() == "100 / 1,000 steps  ·  10/s  ·  1 min 30 s left"


def test_resumed_work_counts_only_its_own_speed():
    clock = Clock()
    with Progress(1000, "training", start=900, console=plain(), clock=clock) as progress:
        assert progress.seconds_left is None
        for clock.now in (10.0, 15.0):
            progress.advance(5)
        assert progress.rate == pytest.approx(1.0)
        assert progress.seconds_left == pytest.approx(90.0)


def test_rate_follows_a_slow_down():
    clock = Clock()
    with Progress(10_000, "training", console=plain(), clock=clock) as progress:
        for second in range(1, 101):
            clock.now = float(second)
            progress.advance(100)
        for second in range(101, 301):
            clock.now = float(second)
            progress.advance(1)
        assert progress.rate == pytest.approx(1.0, rel=0.05)


def test_patience_says_only_what_takes_long():
    with Progress(10, "training", console=plain()) as progress:
        said = progress._console.file
        with progress.patience("Soon there.", seconds=60.0):
            pass
        assert "Soon there." not in said.getvalue()
        with progress.patience("Soon there.", seconds=0.01):
            deadline = time.monotonic() + 10
            while "Soon there." not in said.getvalue() and time.monotonic() < deadline:
                time.sleep(0.01)
        assert said.getvalue().count("Soon there.") == 1


def test_what_needs_patience_is_left_out_of_the_rate():
    clock = Clock()
    with Progress(10_000, "training", console=plain(), clock=clock) as progress:
        with progress.patience("Soon there.", seconds=10.0):
            clock.now = 100.0
        progress.advance(1)
        assert progress.rate == 0
        clock.now = 101.0
        progress.advance(9)
        assert progress.rate == pytest.approx(10.0)


def test_a_long_silence_does_not_spoil_the_rate_that_follows():
    """As when the first update is compiled for minutes."""
    clock = Clock()
    with Progress(10_000, "training", console=plain(), clock=clock) as progress:
        for clock.now in (1.0, 601.0, 602.0, 603.0):
            progress.advance(10)
        assert progress.rate == pytest.approx(10.0)


def test_what_is_said_is_one_line_where_no_person_reads_it():
    narrow = Console(file=io.StringIO(), force_terminal=False, width=20)
    with Progress(100, "training", console=narrow) as progress:
        progress.say("What is computed is compiled first.")
    assert "What is computed is compiled first.\n" in narrow.file.getvalue()


def test_without_a_terminal_a_line_every_ten_seconds():
    clock, console = Clock(), plain()
    with Progress(100, "training", unit="updates", console=console, clock=clock) as progress:
        for second in range(1, 26):
            clock.now = float(second)
            progress.advance(4, numbers={"balance": 8.125 * second})
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 4  # the start, at 10 s, at 20 s, the end
    assert lines[0].startswith("training: 0 / 100 updates")
    assert "balance 81.25" in lines[1]
    assert lines[-1].startswith("training: 100 / 100 updates")
    assert "left" not in lines[-1]


def test_on_a_terminal_a_bar_with_the_live_numbers():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with Progress(100, "training", console=console) as progress:
        progress.advance(50, numbers={"balance": 812.0})
        progress.say("a line that stays")
        progress.advance(50)
    shown = console.file.getvalue()
    assert "training" in shown
    assert "100 / 100 steps" in shown
    assert "balance 812" in shown
    assert "a line that stays" in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_programs_are_told_in_json_lines(monkeypatch):
    monkeypatch.setenv("MANYHEADS_PROGRESS", "json")
    clock, console = Clock(), Console(file=io.StringIO(), force_terminal=True, width=20)
    with Progress(1000, "training a task of a very long name", console=console, clock=clock) as progress:
        progress.advance(0)
        clock.now = 10.0
        progress.advance(100, {"a/return": 812.0, "b/return": math.nan})
        progress.say("[bold]A line for people.")
        clock.now = 10.1
        progress.advance(1)
    first, second, said, last = console.file.getvalue().splitlines()
    assert json.loads(first)["done"] == 0
    record = json.loads(second)
    assert record == {
        "progress": "training a task of a very long name",
        "done": 100,
        "total": 1000,
        "unit": "steps",
        "rate": pytest.approx(10.0),
        "seconds_left": pytest.approx(90.0),
        "numbers": {"a/return": 812.0},
    }
    assert said == "[bold]A line for people."
    assert json.loads(last)["done"] == 101
