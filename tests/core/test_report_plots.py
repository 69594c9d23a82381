"""Plots say what they are given, follow a page's colours and stay small."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from manyheads.learning.evaluate import bootstrap
from manyheads.report import plots
from manyheads.report.metrics import Series, thinned
from manyheads.report.svg import SERIES
from manyheads.storage.evaluations import EpisodeResult, Evaluation


def series(values, step=100):
    count = len(values)
    return Series(
        step=[step * k for k in range(count)],
        updates=list(range(count)),
        time=[2.0 * k for k in range(count)],
        value=list(values),
    )


def texts(svg):
    return [
        "".join(node.itertext()).strip() for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("text")
    ]


def evaluation(task, policy, returns):
    episodes = [EpisodeResult(seed, value, value, None, 10) for seed, value in enumerate(returns)]
    return Evaluation(task, policy, 100, episodes, bootstrap(returns), None)


def test_learning_curves_name_their_tasks_and_axes():
    shown = plots.learning_curves(
        {"a/x/return": series(range(50)), "a/y/return": series(range(50)), "world/z": series([1])}
    )
    assert {"a/x", "a/y", "environment steps", "minutes of work", "return"} <= set(texts(shown))
    assert "world/z" not in shown


def test_an_axis_that_stands_still_is_left_out():
    imagined = {"a/imagined_return": series(range(50), step=0)}
    shown = plots.learning_curves(imagined, "imagined_return", along=("environment steps", "updates"))
    assert "updates" in texts(shown)
    assert "environment steps" not in texts(shown)
    assert plots.learning_curves({}, "return") == ""
    assert plots.learning_curves({"a/return": series([1.0])}) == ""


def test_small_multiples_are_the_owners_numbers():
    shown = plots.small_multiples(
        {"world/dyn": series(range(9)), "world/rep": series(range(9)), "a/reward": series(range(9))}, "world"
    )
    assert {"dyn", "rep"} <= set(texts(shown))
    assert "reward" not in texts(shown)


def test_evaluations_have_a_panel_a_task():
    shown = plots.evaluations(
        [evaluation(task, policy, [1.0, 2.0, 3.0]) for task in ("a/x", "a/y") for policy in ("random", "head")]
    )
    assert texts(shown).count("random") == 2
    assert {"a/x", "a/y"} <= set(texts(shown))
    assert plots.evaluations([]) == ""


@pytest.mark.parametrize(
    "shown",
    [
        plots.learning_curves({"a/return": series(range(50))}),
        plots.reward_along_episodes([np.linspace(0, 1, 30)] * 3),
        plots.evaluations([evaluation("a/x", "head", [1.0, 2.0])]),
        plots.histogram(np.random.default_rng(0).normal(size=1000)),
    ],
    ids=["curves", "rewards", "evaluations", "histogram"],
)
def test_plots_are_labelled_svg_in_the_pages_colours(shown):
    root = ElementTree.fromstring(shown if "xmlns" in shown else shown.replace("<svg", '<svg xmlns="x"', 1))
    assert root.tag.endswith("svg")
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"]
    assert "width" not in root.attrib
    assert "var(--series-1" in shown
    assert not re.search(rf"(?<!, ){SERIES[0]}", shown)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", shown)
    assert " id=" not in re.sub(r' id="[mp][0-9a-f]{10}"', "", shown)


def test_what_a_plot_says_is_escaped():
    root = ElementTree.fromstring(plots.learning_curves({'<b> "&/return': series(range(9))}))
    assert '<b> "&' in root.attrib["aria-label"]


def test_long_series_are_thinned_to_their_means():
    long = series(np.arange(10_000.0))
    thin = thinned(long, 100)
    assert len(thin.value) == len(thin.step) == 100
    assert np.mean(thin.value) == pytest.approx(np.mean(long.value))
    assert thin.step[-1] == long.step[-1]
    assert len(plots.learning_curves({"a/return": long})) < 150_000


def test_running_mean_keeps_constants_and_cuts_noise():
    assert plots.running_mean([3.0] * 7).tolist() == [3.0] * 7
    noise = np.random.default_rng(0).normal(size=400)
    assert np.std(plots.running_mean(noise)) < 0.35


def test_plots_repeat_exactly():
    make = lambda: plots.reward_along_episodes([np.linspace(0, 1, 30)])  # noqa: E731
    assert make() == make()
