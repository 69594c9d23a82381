"""Scores are log-probabilities, padding changes nothing, and generation keeps to its schema."""

import json

import numpy as np
import pytest
import torch
from tiny_checkpoint import write_checkpoint

from manyheads import ManyheadsError
from manyheads_glam.models.causal import CausalModel
from manyheads_glam.models.local import local
from manyheads_glam.models.scripted import ScriptedModel
from manyheads_glam.transcript import RecordingModel

PROMPT = "Goal: move left. So it should be"
CANDIDATES = [" left", " on the far right side", " x"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def model(checkpoint):
    return CausalModel("tiny", checkpoint)


def reference(model, prompt, candidate):
    """One candidate at a time, without cache or padding."""
    given = model.tokenizer(prompt).input_ids
    tokens = model.tokenizer(candidate, add_special_tokens=False).input_ids
    logits = model.model(torch.tensor([given + tokens])).logits[0].double()
    steps = [torch.log_softmax(logits[len(given) + i - 1], -1)[token].item() for i, token in enumerate(tokens)]
    return sum(steps) / len(steps)


def test_scores_equal_a_reference_log_softmax(model):
    expected = [reference(model, PROMPT, candidate) for candidate in CANDIDATES]
    assert model.score(PROMPT, CANDIDATES) == pytest.approx(expected, abs=1e-4)
    assert np.ptp(expected) > 0.1


def test_padding_changes_no_score(model):
    alone = [model.score(PROMPT, [candidate])[0] for candidate in CANDIDATES]
    assert model.score(PROMPT, CANDIDATES) == pytest.approx(alone, abs=1e-4)


def test_an_empty_candidate_is_refused(model):
    with pytest.raises(ManyheadsError, match="at least one token"):
        model.score(PROMPT, ["", " left"])


def test_generation_keeps_to_the_schema_even_from_a_random_model(model):
    schema = {
        "type": "object",
        "properties": {"signal": {"enum": ["cart_position", "pole_angle"]}, "high": {"type": "boolean"}},
        "required": ["signal", "high"],
        "additionalProperties": False,
    }
    reply = json.loads(model.generate("Choose.", schema, max_tokens=100))
    assert reply["signal"] in ("cart_position", "pole_angle")
    assert isinstance(reply["high"], bool)


def test_generation_without_a_schema_is_greedy_and_ends(model):
    first = model.generate("Say something.", max_tokens=8)
    assert first == model.generate("Say something.", max_tokens=8)


def test_a_checkpoint_that_is_none_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("MANYHEADS_MODEL", raising=False)
    with pytest.raises(ManyheadsError, match="MANYHEADS_MODEL"):
        local()
    with pytest.raises(ManyheadsError, match=r"no config\.json"):
        local(str(tmp_path))


class Nonsense:
    name = "nonsense"

    def generate(self, prompt, schema=None, max_tokens=512):
        return 3

    def score(self, prompt, candidates):
        return [float("nan")] * len(candidates)

    def embed(self, texts):
        return np.zeros((1, 2, 3))


def test_nonsense_is_an_error_that_names_the_model():
    recorded = RecordingModel(Nonsense())
    for call in (
        lambda: recorded.score("p", ["a", "b"]),
        lambda: recorded.generate("p"),
        lambda: recorded.embed(["a"]),
    ):
        with pytest.raises(ManyheadsError, match="nonsense"):
            call()


def test_every_call_is_recorded_once(tmp_path):
    path = tmp_path / "replies.jsonl"
    path.write_text('{"prompt": "p", "candidates": ["a", "b"], "scores": [-1.0, -2.0]}\n{"reply": "yes"}\n')
    recorded = RecordingModel(ScriptedModel(path))
    assert recorded.score("p", ["a", "b"]) == recorded.score("p", ["a", "b"]) == [-1.0, -2.0]
    assert recorded.generate("q") == "yes"
    assert [call["call"] for call in recorded.calls] == ["score", "generate"]
    with pytest.raises(ManyheadsError, match="no more replies"):
        recorded.generate("q")


def test_a_damaged_file_of_replies_is_named(tmp_path):
    path = tmp_path / "replies.jsonl"
    path.write_text("{half")
    with pytest.raises(ManyheadsError, match=r"replies\.jsonl"):
        ScriptedModel(path)
