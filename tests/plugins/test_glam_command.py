"""`manyheads goal`: what a person sees, agrees to, and finds written afterwards."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

import manyheads
from helpers import python
from manyheads import ManyheadsError, load_task
from manyheads.registry import registry
from manyheads_glam import command, session
from manyheads_glam.experience import Seen
from manyheads_glam.preview import sparkline

GOAL = "park the cart on the left"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none.jsonl").write_text("")

    def invoke(*args, **kwargs):
        found = CliRunner().invoke(command.goal, [*args, "--model", "scripted:none.jsonl"], **kwargs)
        if found.exception is not None and not isinstance(found.exception, SystemExit):
            raise found.exception
        return found

    return invoke


class FakeReplay:
    """Episodes in which the cart stays where it is told."""

    def __init__(self, place):
        rng = np.random.default_rng(0)
        names = [signal.name for signal in registry().environments["dmc/cartpole"].instance({}).signals]
        self.kept = []
        for _ in range(3):
            signals = {name: rng.normal(0, 0.01, 100) for name in names}
            signals["cart_position"] = signals["cart_position"] + place
            self.kept.append(type("Episode", (), {"signals": signals, "__len__": lambda self: 100})())

    def signals(self, experience):
        return {name: np.concatenate([e.signals[name] for e in self.kept]) for name in self.kept[0].signals}

    def episodes(self, experience=None):
        return self.kept

    def close(self):
        pass


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A stand-in for a world that has only seen the cart at `place`."""

    def make(place):
        instance = registry().environments["dmc/cartpole"].instance({"action_repeat": 2})
        record = SimpleNamespace(environment="dmc/cartpole", options={"action_repeat": 2}, instance=lambda: instance)
        folder = SimpleNamespace(
            path=tmp_path / "world",
            instances=[record],
            heads=(),
            record_of=lambda instance: record,
            replay=lambda read_only: FakeReplay(place),
        )
        monkeypatch.setattr(session, "world_folder", lambda path: folder)
        return "world"

    return make


def test_a_goal_becomes_a_task_file_that_loads(run, tmp_path):
    found = run(GOAL, "--environment", "dmc/cartpole", "--set", "action_repeat=2", "--yes")
    assert found.exit_code == 0, found.output
    assert "cart position at most" in found.output
    assert "R0 lexicon" in found.output
    task = load_task(tmp_path / "park_the_cart_on_the_left.yaml")
    assert task.goal == GOAL
    assert task.options["action_repeat"] == 2
    assert task.success.held_for == 50
    rewards = task.reward.label({name: np.array([0.0, -1.5]) for name in task.reward.signals}).reward
    assert rewards[1] > 0
    journal = [json.loads(line) for line in (tmp_path / "park_the_cart_on_the_left.jsonl").read_text().splitlines()]
    assert {"score", "decision"} <= {record["call"] for record in journal}


def test_a_person_is_asked(run, tmp_path):
    with pytest.raises(ManyheadsError, match="Nothing was written"):
        run(GOAL, "--environment", "dmc/cartpole", input="n\n")
    with pytest.raises(ManyheadsError, match="--yes"):
        run(GOAL, "--environment", "dmc/cartpole", input="")
    assert not list(tmp_path.glob("*.yaml"))
    assert run(GOAL, "--environment", "dmc/cartpole", input="y\n").exit_code == 0
    assert len(list(tmp_path.glob("*.yaml"))) == 1


def test_an_edit_is_checked_before_it_counts(run, tmp_path, monkeypatch):
    edits = iter([lambda text: text.replace("cart_position", "cart_place"), lambda text: text.replace("-0.9", "-1.1")])

    def edit(filename):
        from pathlib import Path

        path = Path(filename)
        path.write_text(next(edits)(path.read_text()))

    monkeypatch.setattr("click.edit", edit)
    found = run(GOAL, "--environment", "dmc/cartpole", input="e\ne\ny\n")
    assert "cart_place" in found.output
    assert "-1.1" in (tmp_path / "park_the_cart_on_the_left.yaml").read_text()


def test_json_asks_nothing_and_writes_only_with_yes(run, tmp_path):
    found = run(GOAL, "--environment", "dmc/cartpole", "--json")
    record = json.loads(found.output)
    assert record["spec"]["goal"] == GOAL
    assert record["file"] is None
    assert not list(tmp_path.glob("*.yaml"))
    assert json.loads(run(GOAL, "--environment", "dmc/cartpole", "--json", "--yes").output)["file"]


def test_a_world_gives_ranges_curves_and_its_verdict(run, world, tmp_path):
    found = run(GOAL, "--world", world(-1.0), "--yes")
    assert found.exit_code == 0, found.output
    assert "measured" in found.output
    assert "best   episode" in found.output
    assert (tmp_path / "world" / "goals" / "park_the_cart_on_the_left.yaml").exists()


def test_what_a_world_has_not_seen_is_said_with_the_figure_and_exit_code_3(run, world):
    found = run(GOAL, "--world", world(+1.0), "--yes")
    assert found.exit_code == 3
    assert "0.00% of its steps" in found.output
    assert "manyheads train world" in found.output


@pytest.mark.parametrize(
    ("held", "fulfilled", "rarest", "best_stretch", "familiar"),
    [
        (False, 0.012, 0.02, 0.65, True),
        (True, 0.05, 0.1, 0.3, True),
        (True, 0.0, 0.1, 0.9, True),
        (True, 0.012, 0.02, 0.65, False),
        (False, 0.0004, 0.11, 0.66, False),
        (True, 0.0, 0.0, 0.9, False),
    ],
    ids=["touched", "seen", "nearly seen", "hardly held", "seen in passing", "a part never seen"],
)
def test_what_counts_as_seen(held, fulfilled, rarest, best_stretch, familiar):
    seen = Seen(SimpleNamespace(best_stretch=best_stretch), fulfilled, (rarest, 0.5), (), held)
    assert seen.familiar is familiar


def test_a_file_of_another_goal_is_not_overwritten(run, tmp_path):
    run(GOAL, "--environment", "dmc/cartpole", "--yes")
    assert run(GOAL, "--environment", "dmc/cartpole", "--yes").exit_code == 0
    with pytest.raises(ManyheadsError, match="--out"):
        run(GOAL, "--environment", "dmc/cartpole", "--set", "action_repeat=4", "--yes")
    again = run(GOAL, "--environment", "dmc/cartpole", "--yes", "--out", "park_the_cart_on_the_left.yaml")
    assert again.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--environment NAME"),
        (("--environment", "dmc/cartpoel"), "Did you mean dmc/cartpole"),
        (
            ("--environment", "dmc/cartpole", "--set", "repeat"),
            "expected NAME=VALUE, for example --set action_repeat=2",
        ),
        (("--environment", "dmc/cartpole", "--set", "camera=[1"), r"--set camera=\[1: no valid YAML"),
        (("--environment", "dmc/cartpole", "--set", "speed=3"), "no option of dmc/cartpole named 'speed'"),
        (("--world", "nowhere"), "holds no world"),
    ],
)
def test_mistakes_are_named(run, arguments, message):
    with pytest.raises(ManyheadsError, match=message):
        run(GOAL, *arguments)


def test_a_misspelt_model_is_named():
    found = CliRunner().invoke(command.goal, [GOAL, "--environment", "dmc/cartpole", "--model", "glam/embeded"])
    assert "glam/embedded" in str(found.exception)


def test_the_lexicon_needs_no_language_model(tmp_path):
    """Nothing of what runs one is imported."""
    out = tmp_path / "left.yaml"
    code = f"""
import sys
from manyheads.cli import manyheads
manyheads(["goal", "Park the cart at the left", "--environment", "dmc/cartpole", "--model", "glam/lexicon", "--yes",
           "--out", {str(out)!r}], standalone_mode=False)
assert "transformers" not in sys.modules
"""
    result = python(code)
    assert result.returncode == 0, result.stderr
    assert load_task(out).content.reward.source == "spec"
    with pytest.raises(ManyheadsError, match="measures nothing called 'sofa'"):
        manyheads.goal("Sit on the sofa", environment="dmc/cartpole", model="glam/lexicon")


def test_sparkline():
    assert sparkline(np.array([0.0, 0.5, 1.0])) == "▁▅█"
    assert len(sparkline(np.linspace(0, 1, 1000))) == 60


def test_the_embedded_model_turns_opposite_sentences_into_opposite_specifications(tmp_path):
    """The one test with real weights: everything from the sentence to the file, twice."""
    pytest.importorskip("transformers")
    kind = registry().models["glam/embedded"]
    if kind.missing():
        pytest.skip(f"missing: {kind.missing()}")
    from manyheads_glam.writer import write

    model = kind.factory()
    instance = registry().environments["dmc/cartpole"].instance({})
    left, right = (write(f"park the cart on the {side}", instance, model) for side in ("left", "right"))
    shapes = [next(term.to for term in one.spec.reward.of if term.x.signal == "cart_position") for one in (left, right)]
    assert shapes[0].upper == -shapes[1].lower
    assert shapes[0].upper < 0
    assert any(record["call"] == "score" for record in left.journal)
    sentences = model.embed(["drive quickly", "move fast", "a bowl of soup"])
    assert sentences[0] @ sentences[1] > sentences[0] @ sentences[2]
