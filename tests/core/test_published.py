"""Runs are compared with published scores at the marks that they have reached."""

import json
from pathlib import Path
from typing import Any

import pytest

from manyheads.errors import ManyheadsError
from manyheads.report.metrics import Series
from manyheads.report.published import Band, bands, compare, draw, load_suite, stuck, suite_of
from manyheads.suites import read_suite

TASK = "dmc/walker-stand"
SUITE = load_suite("dmc/proprio")


def test_a_band_says_where_a_score_lies() -> None:
    band = Band(mark=50_000, mean=350.0, low=269.0, high=427.0, seeds=5)
    assert [band.place(score) for score in (268.9, 269.0, 427.0, 427.1)] == ["below", "inside", "inside", "above"]


def test_a_score_is_the_mean_of_the_episodes_in_the_window_before_the_mark() -> None:
    returns = Series(step=[12_000, 15_500, 20_000, 24_000], value=[1.0, 100.0, 300.0, 500.0], time=[0.0] * 4)
    (found,) = compare(returns, rows=25_000, repeat=2, task=TASK, suite=SUITE)
    assert (found.band.mark, found.score, found.episodes, found.place) == (50_000, 300.0, 3, "inside")


def test_a_mark_is_reached_by_rows_and_not_by_the_last_episode() -> None:
    """Sixteen simulators end their episodes together, some way before a mark."""
    returns = Series(step=[16_000, 24_000], value=[200.0, 300.0], time=[0.0] * 2)
    assert compare(returns, 24_999, 2, TASK, SUITE) == []
    assert len(compare(returns, 25_000, 2, TASK, SUITE)) == 1


@pytest.mark.parametrize(
    ("later", "rows", "warned"),
    [
        (130.0, 20_000, True),  # 0.8 of the way to 50,000, where the band's low end is 0.8 x 269
        (140.0, 20_000, False),  # better than the first episodes
        (130.0, 25_000, False),  # at the mark a comparison says more
        (130.0, 9_000, False),  # no later episode has ended
    ],
)
def test_a_run_that_gets_nowhere_is_warned_of_early(later: float, rows: int, warned: bool) -> None:
    returns = Series(step=[8_000, 16_000], value=[135.0, later], updates=[0] * 2, time=[0.0] * 2)
    if rows < 16_000:
        returns.rewind(rows, 0)
    found = stuck(returns, rows, 2, TASK, SUITE)
    assert (found is not None) is warned
    if found is not None:
        assert (found.score, found.band.mark) == (130.0, 40_000)
        assert found.band.low == pytest.approx(0.8 * 269)


def test_a_run_that_starts_high_is_not_warned_of() -> None:
    returns = Series(step=[8_000, 16_000], value=[250.0, 240.0], time=[0.0] * 2)
    assert stuck(returns, 20_000, 2, TASK, SUITE) is None


def test_a_run_without_an_episode_is_not_compared_but_drawn() -> None:
    assert compare(Series(), 25_000, 2, TASK, SUITE) == []
    assert draw(Series(), 2, TASK, SUITE).axes


def test_a_task_that_was_not_published_is_refused() -> None:
    with pytest.raises(ManyheadsError, match="walker-stand"):
        bands("dmc/walker-stood", SUITE)


def test_a_task_is_compared_with_the_first_suite_that_has_it() -> None:
    assert suite_of(TASK).name == "dmc/proprio"
    with pytest.raises(ManyheadsError, match="Did you mean dmc/walker-stand"):
        suite_of("dmc/walker-stood")


SMALL: dict[str, Any] = {
    "description": "two runs",
    "preset": "demo",
    "window": 10,
    "scores": {"a/b": {"50": {"mean": 1, "low": 0}}},
}


def test_a_suite_is_checked_and_its_mistakes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "small.json"
    with pytest.raises(ManyheadsError, match=r"small\.json can't be read: No such file"):
        read_suite("a/small", path)
    path.write_text("{")
    with pytest.raises(ManyheadsError, match=r"small\.json: Invalid JSON"):
        read_suite("a/small", path)
    path.write_text(json.dumps(SMALL))
    with pytest.raises(ManyheadsError, match=r"small\.json: scores\.a/b\.50\.high: Field required"):
        read_suite("a/small", path)
    SMALL["scores"]["a/b"]["50"] |= {"high": 2, "seeds": 2}
    path.write_text(json.dumps(SMALL | {"presets": ""}))
    with pytest.raises(ManyheadsError, match="presets: Extra inputs are not permitted"):
        read_suite("a/small", path)
    path.write_text(json.dumps(SMALL | {"preset": "own.yaml", "options": {"x": 1}, "options_of": {"a/b": {"y": 2}}}))
    suite = read_suite("a/small", path)
    assert (suite.settings, suite.task_options("a/b"), suite.task_options("a/c")) == (
        tmp_path / "own.yaml",
        {"x": 1, "y": 2},
        {"x": 1},
    )
    assert bands("a/b", suite) == [Band(50, 1.0, 0.0, 2.0, 2)]
