"""What can't be measured: said with why, what is near, and how to declare it; one question at most."""

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("dm_control")

from manyheads import ManyheadsError
from manyheads.registry import registry
from manyheads_glam import asking, command
from manyheads_glam.asking import Unmeasurable, asked_back
from manyheads_glam.meaning import Evidence, opposite, paraphrases
from manyheads_glam.models.lexicon import LexiconModel
from manyheads_glam.models.scripted import ScriptedModel
from manyheads_glam.writer import write

GOAL = "Look happy"


@pytest.fixture
def model(tmp_path):
    (tmp_path / "none.jsonl").write_text("")
    return ScriptedModel(tmp_path / "none.jsonl")


def refused(model, goal=GOAL, environment="dmc/walker"):
    with pytest.raises(Unmeasurable) as error:
        write(goal, registry().environments[environment].instance({}), model)
    return error.value


def cheerful(texts):
    """Vectors under which to be happy is to stand upright, a little, and nothing else."""
    return np.array([_vector(text) for text in texts], np.float32)


def _vector(text):
    if text == "look happy":
        return [0.4, np.sqrt(1 - 0.4**2), 0.0]
    if "happy" in text:
        return [0.0, 1.0, 0.0]
    return [1.0, 0.0, 0.0] if "upright" in text else [0.0, 0.0, 1.0]


def test_the_refusal_offers_goals_that_can_be_written(monkeypatch):
    """By the sentence encoder, also where no model writes."""
    monkeypatch.setattr(asking, "encoder", lambda: cheerful)
    found = refused(LexiconModel())
    assert "measures nothing called 'happy'" in found.why
    assert "keep the torso upright" in found.offers
    assert "keep the torso upright" in str(found)
    for offer in found.offers[:1]:
        spec = write(offer, registry().environments["dmc/walker"].instance({}), LexiconModel()).spec
        assert spec.signals


def test_the_lines_that_would_declare_it_are_shown(model):
    text = str(refused(model))
    assert 'Signal("happy", kind="boolean", low=0, high=1' in text
    assert '"happy": float(' in text
    assert "dmc/walker" in text


@pytest.mark.parametrize(("answer", "written"), [("1", "keep it upright"), ("go left", "go left")])
def test_one_question_is_asked_and_its_answer_written(monkeypatch, answer, written):
    monkeypatch.setattr(asking.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(asking.click, "prompt", lambda *args, **kwargs: answer)
    asked = []

    def writes(goal):
        asked.append(goal)
        if goal == GOAL:
            raise Unmeasurable("why", ["keep it upright"], "lines")
        return goal

    assert asked_back(GOAL, writes) == written
    assert asked == [GOAL, written]


def test_no_is_an_answer_and_a_second_refusal_ends_it(monkeypatch):
    monkeypatch.setattr(asking.sys.stdin, "isatty", lambda: True, raising=False)

    def never(goal):
        raise Unmeasurable("why", ["keep it upright"], "these lines")

    monkeypatch.setattr(asking.click, "prompt", lambda *args, **kwargs: "n")
    with pytest.raises(ManyheadsError, match="these lines"):
        asked_back(GOAL, never)
    monkeypatch.setattr(asking.click, "prompt", lambda *args, **kwargs: "1")
    with pytest.raises(Unmeasurable):
        asked_back(GOAL, never)


def test_nobody_is_asked_where_nobody_answers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none.jsonl").write_text("")
    arguments = [GOAL, "--environment", "dmc/walker", "--model", "scripted:none.jsonl"]
    found = CliRunner().invoke(command.goal, arguments)
    assert isinstance(found.exception, Unmeasurable)


# --- what recorded rows say --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evidence():
    instance = registry().environments["dmc/cartpole"].instance({})
    random = np.random.default_rng(0)
    time = np.arange(5000)[:, None]
    waves = np.sin(time / random.uniform(20, 120, 7) + random.uniform(0, 6, 7))
    columns = {signal.name: waves[:, i] for i, signal in enumerate(instance.signals)}
    return Evidence(instance, columns, np.arange(5000) % 100 == 0)


def test_a_goal_is_held_against_rows_and_against_its_other_wordings(model, evidence):
    good = write("Park the cart on the left", evidence.instance, model, evidence=evidence)
    assert not [finding for finding in good.findings if finding.code.startswith("L5")]
    never = write("Park the cart at 1.6 m", evidence.instance, model, evidence=evidence)
    assert any(finding.code.startswith(("L3", "L4")) for finding in never.findings)
    assert all(finding.advice for finding in never.findings)


def test_a_writer_that_makes_the_same_of_the_opposite_is_found_out(model, evidence):
    spec = write("Park the cart on the left", evidence.instance, model).spec
    codes = {one.code for one in evidence.meaning("Park the cart on the left", spec, lambda goal: spec)}
    assert codes == {"L5_OPPOSITE"}


def test_a_writer_that_reads_other_wordings_otherwise_is_found_out(model, evidence):
    left = write("Park the cart on the left", evidence.instance, model).spec
    right = write("Park the cart on the right", evidence.instance, model).spec
    codes = {one.code for one in evidence.meaning("Park the cart on the left", left, lambda goal: right)}
    assert codes == {"L5_PARAPHRASE"}


@pytest.mark.parametrize(
    ("goal", "turned"),
    [
        ("Park the cart on the left", "right"),
        ("Spin the pole fast", "slow"),
        ("Keep the pole upright", "hang"),
        ("Look happy", None),
    ],
)
def test_opposites(goal, turned):
    found = opposite(goal)
    assert (found is None) if turned is None else turned in found.split()


def test_paraphrases_say_the_same_in_other_words():
    found = paraphrases("Park the cart on the left and keep the pole upright.")
    assert "Park the trolley on the left and keep the rod upright." in found
    assert "keep the pole upright and park the cart on the left." in found
