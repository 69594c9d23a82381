"""Runs are compared with published scores at the marks that they have reached."""

import pytest

from manyheads.errors import ManyheadsError
from manyheads.report.metrics import Series
from manyheads.report.published import Band, bands, compare, draw

TASK = "dmc/walker-stand"


def test_a_band_says_where_a_score_lies() -> None:
    band = Band(mark=50_000, mean=350.0, low=269.0, high=427.0, seeds=5)
    assert [band.place(score) for score in (268.9, 269.0, 427.0, 427.1)] == ["below", "inside", "inside", "above"]


def test_a_score_is_the_mean_of_the_episodes_in_the_window_before_the_mark() -> None:
    returns = Series(step=[12_000, 15_500, 20_000, 24_000], value=[1.0, 100.0, 300.0, 500.0], time=[0.0] * 4)
    (found,) = compare(returns, rows=25_000, repeat=2, task=TASK, suite="dmc_proprio")
    assert (found.band.mark, found.score, found.episodes, found.place) == (50_000, 300.0, 3, "inside")


def test_a_mark_is_reached_by_rows_and_not_by_the_last_episode() -> None:
    """Sixteen simulators end their episodes together, some way before a mark."""
    returns = Series(step=[16_000, 24_000], value=[200.0, 300.0], time=[0.0] * 2)
    assert compare(returns, 24_999, 2, TASK, "dmc_proprio") == []
    assert len(compare(returns, 25_000, 2, TASK, "dmc_proprio")) == 1


def test_a_run_without_an_episode_is_not_compared_but_drawn() -> None:
    assert compare(Series(), 25_000, 2, TASK, "dmc_proprio") == []
    assert draw(Series(), 2, TASK, "dmc_proprio").axes


def test_a_task_that_was_not_published_is_refused() -> None:
    with pytest.raises(ManyheadsError, match="walker-stand"):
        bands("dmc/walker-stood", "dmc_proprio")
