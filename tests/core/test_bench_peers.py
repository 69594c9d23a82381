"""`benchmarks/peers.py` alternates two processes and compares equal work alone. No peer is installed."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"
WORK: dict[str, Any] = {"size": "demo", "heads": 1, "batch": 2, "length": 4, "vector": 3, "image": None}
WORK |= {"continuous": 2, "choices": 0, "threads": 1}


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import peers

    return peers


def test_a_side_says_what_it_does_and_updates_when_asked(peers: ModuleType) -> None:
    with peers.Side("manyheads", Path(sys.executable), "peer_manyheads.py", WORK | {"plain": True}) as side:
        times = [side.turn(updates) for updates in (1, 2, 1)]
        summary = side.summary(times)
    assert set(peers.EQUAL) <= side.says.keys()
    assert (side.says["batch"], side.says["length"], side.says["horizon"]) == (2, 4, 15)
    assert side.says["parameters"] > 100_000
    assert 0 < summary["fastest_ms"] <= summary["median_ms"] <= summary["slowest_ms"]
    assert summary["peak_memory_mb"] > 100
    assert side.process.returncode is not None, "its process has ended"


def test_a_side_that_fails_is_named(peers: ModuleType) -> None:
    with pytest.raises(click.ClickException, match="sheeprl ended with code 2"):
        peers.Side("sheeprl", Path(sys.executable), "no_such_file.py", WORK)


@pytest.mark.parametrize("key", ["parameters", "batch", "length", "horizon", "threads"])
def test_unequal_work_is_refused(peers: ModuleType, key: str) -> None:
    says = dict.fromkeys(peers.EQUAL, 7)
    peers.refuse_unequal(says, says)
    with pytest.raises(click.ClickException, match=f"{key} is 7 here and 8 in"):
        peers.refuse_unequal(says, says | {key: 8})


def test_ratio_of_medians_and_of_rounds(peers: ModuleType) -> None:
    assert peers.ratio([(1.0, 4.0), (2.0, 4.0), (3.0, 9.0)]) == {"ratio": 2.0, "ratio_low": 2.0, "ratio_high": 4.0}


def test_a_mistake_is_said_without_a_traceback(peers: ModuleType) -> None:
    result = CliRunner().invoke(peers.main, ["--workload", "proprio-9m"])
    assert result.exit_code == 2
    assert "proprio-1m" in result.output
