"""`manyheads bench` measures real updates and real training."""

import json
import time

import pytest
import torch
from click.testing import CliRunner

from manyheads.cli import manyheads
from manyheads.cli.bench.clock import Clock, DeviceClock
from manyheads.cli.bench.training import PARTS
from manyheads.errors import ManyheadsError

TINY = [
    "world.deter=16", "world.hidden=8", "world.groups=4", "world.classes=4", "world.units=8", "world.depth=2",
    "heads.actor_critic.horizon=3", "training.batch_size=2", "training.batch_length=8", "training.num_envs=2",
    "training.train_ratio=16",
    "training.compile=false",
]  # fmt: skip


def test_plain_update_of_the_small_workload() -> None:
    arguments = ["bench", "learner", "--workload", "demo", "--plain", "--threads", "1", "--rounds", "3", "--json"]
    result = CliRunner().invoke(manyheads, arguments)
    assert result.exception is None, result.output
    record = json.loads(result.output)
    assert record["workload"] == "demo"
    assert not record["compiled"]
    assert record["fastest_ms"] <= record["median_ms"] <= record["slowest_ms"]
    assert 8 < record["gflop"] < 10, "the operations of this workload, counted"
    assert record["parameters"] == 506_695
    assert record["peak_memory_mb"] > 100
    assert sum(record["parts_ms"].values()) > 0


def test_parts_of_training_add_up_to_the_whole() -> None:
    arguments = ["bench", "loop", "--workload", "image", "--updates", "4", "--threads", "1", "--json"]
    methods = [getattr(owner, method) for owner, method, _ in PARTS]
    result = CliRunner().invoke(manyheads, [*arguments, *(f"--set={setting}" for setting in TINY)])
    assert result.exception is None, result.output
    record = json.loads(result.stdout)
    assert (record["workload"], record["environments"], record["size"]) == ("image", 2, "1m")
    assert (record["updates"], record["steps"]) == (4, 4), "one row is worth one update at this ratio"
    assert sum(record["parts_ms"].values()) == pytest.approx(1000 / record["updates_per_second"])
    assert sum(record["shares"].values()) == pytest.approx(1)
    assert record["waiting"] == pytest.approx(1 - record["shares"]["update"])
    assert {"update", "environments", "acting", "sampling", "labels", "saving"} <= record["shares"].keys()
    assert all(milliseconds > 0 for milliseconds in record["acting_ms"].values())
    assert methods == [getattr(owner, method) for owner, method, _ in PARTS], "still watched"


def test_a_part_inside_another_counts_for_itself_alone() -> None:
    class Works:
        def outer(self) -> None:
            time.sleep(0.02)
            self.inner()

        def inner(self) -> None:
            time.sleep(0.05)

    clock, start = Clock(), time.perf_counter()
    with clock.watching([(Works, "outer", "outer"), (Works, "inner", "inner")]), clock.part("rest"):
        Works().outer()
    whole = time.perf_counter() - start
    assert clock.seconds["inner"] >= 0.05
    assert clock.seconds["outer"] >= 0.02
    assert clock.seconds["outer"] + clock.seconds["inner"] <= sum(clock.seconds.values()) <= whole
    Works().inner()
    assert sum(clock.seconds.values()) <= whole, "nothing is watched any more"


def test_a_devices_own_clock_is_read_when_all_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1.0, 3.0, 10.0, 15.0])

    class Event:
        def record(self) -> None:
            self.at = next(times)

        def elapsed_time(self, other: "Event") -> float:
            return 1000 * (other.at - self.at)

    class Works:
        def update(self) -> str:
            return "sent"

    waited: list[bool] = []
    monkeypatch.setattr("manyheads.cli.bench.clock.device_event", Event)
    monkeypatch.setattr("torch.cuda.synchronize", lambda: waited.append(True))
    device = DeviceClock()
    with device.watching([(Works, "update", "update")]):
        assert [Works().update(), Works().update()] == ["sent", "sent"]
    assert not device.seconds
    device.read()
    assert waited
    assert device.seconds["update"] == 2 + 5


def test_a_misspelt_setting_of_the_loop_is_said() -> None:
    result = CliRunner().invoke(manyheads, ["bench", "loop", "--set", "world.sise=1m"])
    assert isinstance(result.exception, ManyheadsError)
    assert "world.size" in str(result.exception)


def test_a_device_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(manyheads, ["bench", "learner", "--device", "cuda"])
    assert isinstance(result.exception, ManyheadsError)
    assert "--device is cuda, but torch finds no CUDA device here. Leave it out" in str(result.exception)
