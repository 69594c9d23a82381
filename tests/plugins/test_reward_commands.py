"""`manyheads reward explain | plot | compare | label`, and `check` on data: over rows of the real cartpole."""

import csv
import json

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

pytest.importorskip("dm_control")

from benchmarks.nl2reward.rows import world as recorded_world

from manyheads.cli.reward import reward
from manyheads.registry import registry

ROWS = 900
LEFT = {
    "environment": "dmc/cartpole",
    "goal": "go left",
    "reward": {
        "combine": "product",
        "of": [
            {"x": {"signal": "cart_position"}, "to": {"shape": "tolerance", "upper": -0.3, "margin": 1.0}},
            {"x": {"signal": "pole_angle_cosine"}, "to": {"shape": "ramp", "low": -1, "high": 1}, "floor": 0.5},
        ],
    },
}
RIGHT = {
    "environment": "dmc/cartpole",
    "reward": {"x": {"signal": "cart_position"}, "to": {"shape": "tolerance", "lower": 0.3, "margin": 1.0}},
}
STAGES = {
    "environment": "dmc/cartpole",
    "stages": [
        {
            "reward": LEFT["reward"],
            "advance_when": {"op": "le", "x": {"signal": "cart_position"}, "than": -0.3},
        },
        {"reward": RIGHT["reward"]},
    ],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A world folder with recorded rows of the simulator, and nothing trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield recorded_world([registry().environments["dmc/cartpole"].instance({})], ROWS)


@pytest.fixture
def run(tmp_path):
    def invoke(command, *arguments):
        files = []
        for i, argument in enumerate(arguments):
            if isinstance(argument, dict):
                (tmp_path / f"{i}.yaml").write_text(yaml.safe_dump(argument))
            files.append(str(tmp_path / f"{i}.yaml") if isinstance(argument, dict) else str(argument))
        found = CliRunner().invoke(reward, [command, *files])
        if found.exception is not None and not isinstance(found.exception, SystemExit):
            raise found.exception
        return found.output

    return invoke


def test_explain_says_it_whole_and_in_short(run):
    words = run("explain", LEFT)
    assert "go left" in words
    assert "In short: cart position at most -0.3 m" in words
    facts = json.loads(run("explain", STAGES, "--json"))
    assert facts["signals"] == ["cart_position", "pole_angle_cosine"]
    assert facts["memory"] == 2
    assert len(facts["hash"]) == 64


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_plot_draws_each_term_along_episodes(run, world, tmp_path, kind):
    out = tmp_path / f"reward.{kind}"
    assert "reward and 2 terms along 2 episodes" in run("plot", LEFT, world, out, "--episodes", "2")
    assert out.stat().st_size > 1000


def test_plot_draws_stages(run, world, tmp_path):
    assert "3 terms" in run("plot", STAGES, world, tmp_path / "stages.svg")


def test_compare_tells_the_same_from_the_opposite(run, world):
    same = json.loads(run("compare", LEFT, LEFT, world, "--json"))
    assert same["steps"] == pytest.approx(1.0)
    assert same["segments"] == pytest.approx(1.0)
    against = json.loads(run("compare", LEFT, RIGHT, world, "--json"))
    assert against["segments"] < -0.2
    assert against["rows"] < ROWS * 1.5
    assert "Spearman" in run("compare", LEFT, RIGHT, world)


def test_label_writes_every_row(run, world, tmp_path):
    out = tmp_path / "labels.csv"
    run("label", RIGHT, world, out)
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= ROWS
    first = [float(row["reward"]) for row in rows if row["step"] == "0"]
    assert first == [0.0] * len(first)
    rewards = np.array([float(row["reward"]) for row in rows])
    assert 0 < rewards.mean() < 1
    assert {row["terminated"] for row in rows} == {"0"}


def test_check_on_data_finds_the_opposite_and_the_other_wording(run, world, tmp_path):
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(RIGHT))
    words = run(
        "check", LEFT, "--world", world, "--opposite", tmp_path / "other.yaml", "--paraphrase", tmp_path / "other.yaml"
    )
    assert "L5_PARAPHRASE" in words
    assert "L5_OPPOSITE" not in words
    found = run("check", LEFT, "--world", world, "--opposite", tmp_path / "0.yaml")
    assert "L5_OPPOSITE" in found
