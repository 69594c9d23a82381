"""Metrics survive crashes, restarts and numbers that are none."""

import json
import math
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.errors import ManyheadsError
from manyheads.report.metrics import FILE, Follower, Metrics, read
from manyheads.report.tensorboard import TensorBoard


def test_what_is_written_is_read(tmp_path):
    with Metrics(tmp_path) as metrics:
        metrics.write(10, 1, {"a/return": 1.5, "world/loss/image": 2})
        metrics.write(20, 2, {"a/return": 2.5})
    series = read(tmp_path)
    assert list(series) == ["a/return", "world/loss/image"]
    assert series["a/return"].step == [10, 20]
    assert series["a/return"].updates == [1, 2]
    assert series["a/return"].value == [1.5, 2.5]
    assert series["world/loss/image"].value == [2.0]


def test_who_follows_reads_each_line_once_and_waits_for_a_torn_one(tmp_path):
    follower = Follower(tmp_path)
    assert not follower.update()
    with Metrics(tmp_path) as metrics:
        metrics.write(10, 1, {"a": 1.0})
        assert follower.update()
        assert not follower.update()
        metrics.write(20, 2, {"a": 2.0, "b": 3.0})
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-5])
    assert not follower.update()
    (tmp_path / FILE).write_bytes(whole)
    assert follower.update()
    assert follower.series == read(tmp_path)
    assert follower.series["a"].value == [1.0, 2.0]


def test_who_follows_takes_a_rewound_run_and_another_runs_file(tmp_path):
    follower = Follower(tmp_path)
    with Metrics(tmp_path) as metrics:
        for step in (10, 20, 30):
            metrics.write(step, step, {"a": float(step)})
    follower.update()
    with Metrics(tmp_path) as metrics:
        metrics.write(25, 25, {"a": 25.5})
    follower.update()
    assert follower.series["a"].value == [10.0, 20.0, 25.5]
    (tmp_path / FILE).unlink()
    assert not follower.update()
    assert follower.series == {}
    with Metrics(tmp_path) as metrics:
        metrics.write(1, 1, {"c": 5.0})
    follower.update()
    assert list(follower.series) == ["c"]


def test_a_world_without_metrics_has_none(tmp_path):
    assert read(tmp_path) == {}


def test_non_finite_values_are_null_and_counted(tmp_path):
    with Metrics(tmp_path) as metrics:
        metrics.write(1, 1, {"loss": math.nan, "other": math.inf, "fine": 1.0})
        metrics.write(2, 2, {"loss": -math.inf, "fine": 2.0})
    assert metrics.nonfinite == {"loss": 2, "other": 1}
    text = (tmp_path / FILE).read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    series = read(tmp_path)
    assert series["loss"].nonfinite == 2
    assert series["loss"].value == []
    assert series["fine"].value == [1.0, 2.0]


@given(kept=st.integers(0, 60))
def test_a_torn_last_line_is_cut(tmp_path_factory, kept):
    folder = tmp_path_factory.mktemp("world")
    with Metrics(folder) as metrics:
        metrics.write(1, 1, {"a": 1.0})
        whole = (folder / FILE).stat().st_size
        metrics.write(2, 2, {"a": 2.0})
    content = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(content[: min(whole + kept, len(content))])
    torn = not (folder / FILE).read_bytes().endswith(b"\n")
    seen = 1 if torn or whole + kept < len(content) else 2
    assert len(read(folder)["a"].value) == seen
    with Metrics(folder) as metrics:
        metrics.write(3, 3, {"a": 3.0})
    assert read(folder)["a"].step == [1, 2, 3][:seen] + ([3] if seen < 3 else [])
    assert all(json.loads(line) for line in (folder / FILE).read_text().splitlines())


def test_a_stretch_written_again_after_a_crash_replaces_the_old_one(tmp_path):
    with Metrics(tmp_path) as metrics:
        for step in (100, 200, 300, 400):
            metrics.write(step, step // 10, {"a": 1.0})
    with Metrics(tmp_path) as metrics:
        metrics.write(250, 25, {"a": 2.0})
        metrics.write(350, 35, {"a": 2.0})
    assert read(tmp_path)["a"].step == [100, 200, 250, 350]
    assert read(tmp_path)["a"].value == [1.0, 1.0, 2.0, 2.0]


def test_time_counts_work_across_restarts_and_not_pauses(tmp_path):
    with Metrics(tmp_path) as metrics:
        time.sleep(0.02)
        metrics.write(1, 1, {"a": 1.0})
    first = read(tmp_path)["a"].time[0]
    time.sleep(0.2)
    began = time.monotonic()
    with Metrics(tmp_path) as metrics:
        metrics.write(2, 2, {"a": 1.0})
    worked = time.monotonic() - began
    second = read(tmp_path)["a"].time[1]
    assert 0.02 <= first <= second <= first + worked + 0.001


def test_a_broken_line_is_named(tmp_path):
    (tmp_path / FILE).write_text('{"step": 1, "updates": 1, "time": 0.0, "numbers": {}}\nnonsense\n')
    with pytest.raises(ManyheadsError, match=r"metrics\.jsonl, line 2"):
        read(tmp_path)
    with pytest.raises(ManyheadsError, match="last line"):
        Metrics(tmp_path).write(2, 2, {})


def test_a_full_disk_is_said_and_leaves_whole_lines(tmp_path, monkeypatch):
    metrics = Metrics(tmp_path)
    metrics.write(1, 1, {"a": 1.0})
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:7]))
    with pytest.raises(ManyheadsError, match="disk is full"):
        metrics.write(2, 2, {"a": 2.0})
    monkeypatch.undo()
    assert (tmp_path / FILE).read_text().count("\n") == 1
    assert (tmp_path / FILE).read_text().endswith("}\n")


def test_tensorboard_gets_the_same_numbers(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Metrics(tmp_path, TensorBoard(tmp_path, {}, None)) as metrics:
        metrics.write(10, 1, {"a/return": 1.5})
        metrics.write(20, 2, {"a/return": 2.5})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("a/return")] == [(1, 1.5), (2, 2.5)]
