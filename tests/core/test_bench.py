"""`manyheads bench learner` measures real updates."""

import json

from click.testing import CliRunner

from manyheads.cli import manyheads


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
