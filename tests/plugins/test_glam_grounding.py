"""Grounding: practice goals whose truth is known, decisions that are learned, and the file that comes of it."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tiny_checkpoint import write_checkpoint

pytest.importorskip("peft")
pytest.importorskip("dm_control")

from manyheads import ManyheadsError
from manyheads.registry import registry
from manyheads.rewards.finding import errors
from manyheads.rewards.validate import check
from manyheads_glam.catalogue import read
from manyheads_glam.grounding import command
from manyheads_glam.grounding.policy import Deciding, Policy, best, teacher, written
from manyheads_glam.grounding.practice import Practice, ask
from manyheads_glam.grounding.train import GroundSettings, Run
from manyheads_glam.models.adapter import AdaptedModel, AdapterInfo, read_adapter, save_adapter
from manyheads_glam.models.causal import CausalModel
from manyheads_glam.models.choose import choose
from manyheads_glam.models.settings import ModelSettings
from manyheads_glam.models.word_vectors import word_vectors
from manyheads_glam.transcript import Trust
from manyheads_glam.wordings import clause, wordings

TRUST = Trust(2.0, 6.0, learned=True)
PROMPT, OPTIONS = "Goal: go left\nSo it should go", [" left", " to the right side", " x"]


class TinyModel(CausalModel):
    """Without the packaged sentence encoder, which a test of decisions has no need of."""

    def embed(self, texts):
        return word_vectors(texts)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def base(checkpoint):
    return TinyModel(f"local:{checkpoint}", checkpoint)


@pytest.fixture
def policy(base):
    return Policy(base, 4, 8, TRUST, seed=0)


@pytest.fixture(scope="module")
def practice():
    """A cartpole whose signals went everywhere, in episodes of 100 rows."""
    instance = registry().environments["dmc/cartpole"].instance({})
    random = np.random.default_rng(0)
    time = np.arange(3000)[:, None]
    waves = np.sin(time / random.uniform(20, 120, 8) + random.uniform(0, 6, 8))
    columns = {signal.name: waves[:, i] * 1.5 for i, signal in enumerate(instance.signals)}
    return Practice(instance, columns, np.arange(3000) % 100 == 0)


def goals(practice, count, split="train", seed=0):
    random = np.random.default_rng(seed)
    return [practice.goal(random, split) for _ in range(count)]


def test_practice_goals_are_valid_and_their_truth_ranks_as_itself(practice):
    for goal in goals(practice, 30):
        assert not errors(check(goal.truth, practice.instance.signals))
        assert practice.rank(goal.truth, goal) == pytest.approx(1.0)
        assert {demand.signal for demand in goal.demands} == goal.truth.signals


def test_the_right_decisions_rank_nearly_as_the_truth(practice, policy):
    found = []
    for goal in goals(practice, 20):
        known = []
        found.append(written(goal, practice, Deciding(policy, teacher(goal, known))))
    assert np.median(found) > 0.9


def test_held_out_wordings_are_never_practised():
    for name, wording in wordings().items():
        assert not set(wording.train) & set(wording.held), name


def test_every_signal_of_every_simulator_can_be_said():
    random = np.random.default_rng(0)
    for name, environment in registry().environments.items():
        if name.startswith(("dmc/", "minigrid/")) and not environment.missing():
            for reading in read(environment.instance({}).signals):
                for _ in range(3):
                    text = clause(reading, *ask(reading, random), lambda choices: choices[0])
                    assert "{" not in text, reading.name


def test_scores_in_one_row_are_those_one_by_one(base, policy):
    with policy.adapted.disable_adapter():
        assert policy.score(PROMPT, OPTIONS) == pytest.approx(base.score_uncached(PROMPT, OPTIONS), abs=1e-4)


def test_log_probabilities_have_gradients_into_the_adapter_alone(practice, policy):
    model = Deciding(policy, best)
    written(goals(practice, 1)[0], practice, model)
    loss = -policy.log_probabilities(model.choices[0].question)[0]
    loss.backward()
    assert all(parameter.grad is not None for parameter in policy.parameters)
    assert all(parameter.grad is None for name, parameter in policy.adapted.named_parameters() if "lora" not in name)


def run_of(policy, practice, **sizes):
    settings = {"goals": 2, "group": 4, "held": 2, "every": 1000, "lr": 0.02, "rank": 4, **sizes}
    return Run(GroundSettings(**settings), policy, [practice], [practice])


def test_a_warm_start_teaches_the_right_decisions(policy, practice):
    run = run_of(policy, practice, warm=40, steps=0, lr=0.01)
    same = [(practice, goal) for goal in goals(practice, 2, seed=5)]
    run._drawn = lambda random: same
    run.train(40, lambda row: None)
    assert run.curve[-1]["loss"] < 0.5 * run.curve[0]["loss"]
    assert run.curve[-1]["right"] == 1.0


def test_reinforcement_makes_better_specifications_likelier(policy, practice):
    run = run_of(policy, practice, warm=0, steps=1)
    before = policy.tensors()
    run.train(1, lambda row: None)
    assert {"reward", "told apart"} <= run.curve[0].keys()
    assert any(not torch.equal(before[name], tensor) for name, tensor in policy.tensors().items())


def test_a_run_continues_where_it_was(base, practice, tmp_path):
    whole = run_of(Policy(base, 4, 8, TRUST, seed=0), practice, warm=3, steps=1)
    whole.train(2, lambda row: None)
    whole.save(tmp_path / "run.state")
    whole.train(4, lambda row: None)
    other = run_of(Policy(TinyModel("again", base.folder), 4, 8, TRUST, seed=9), practice, warm=3, steps=1)
    other.restore(tmp_path / "run.state")
    assert other.step == 2
    other.train(4, lambda row: None)
    for name, tensor in whole.policy.tensors().items():
        assert torch.allclose(tensor, other.policy.tensors()[name], atol=1e-6), name
    with pytest.raises(ManyheadsError, match="other settings"):
        run_of(policy_of(base), practice, warm=5, steps=1).restore(tmp_path / "run.state")


def policy_of(base):
    return Policy(TinyModel("third", base.folder), 4, 8, TRUST, seed=1)


def test_an_adapters_file_scores_as_its_training_did_and_the_model_under_it_is_as_before(
    base, policy, practice, tmp_path
):
    plain = base.score_uncached(PROMPT, OPTIONS)
    run_of(policy, practice, warm=5, steps=0).train(5, lambda row: None)
    trained = policy.score(PROMPT, OPTIONS)
    info = AdapterInfo(base=base.name, rank=4, alpha=8.0, weight=2.0, limit=6.0)
    save_adapter(tmp_path / "writer.safetensors", info, policy.tensors())
    read, tensors = read_adapter(tmp_path / "writer.safetensors")
    adapted = AdaptedModel("adapter", TinyModel("again", base.folder), read, tensors)
    assert adapted.score(PROMPT, OPTIONS) == pytest.approx(trained, abs=2e-2)
    assert adapted.prior(PROMPT, OPTIONS) == pytest.approx(plain, abs=1e-4)
    assert adapted.score(PROMPT, OPTIONS) != pytest.approx(plain, abs=1e-4)
    assert adapted.trust == TRUST


def test_a_file_that_is_no_adapter_is_named(tmp_path, base):
    (tmp_path / "x.safetensors").write_text("no")
    with pytest.raises(ManyheadsError, match=r"x\.safetensors"):
        read_adapter(tmp_path / "x.safetensors")
    with pytest.raises(ManyheadsError, match="adapter:"):
        choose(ModelSettings(model="adapter:"), lambda text: None)
    info = AdapterInfo(base="local:x", rank=4, alpha=8.0, weight=2.0, limit=6.0)
    wrong = {"base_model.model.model.layers.9.x.lora_A.weight": torch.zeros(4, 3)}
    wrong |= {name.replace("lora_A", "lora_B"): torch.zeros(3, 4) for name in wrong}
    with pytest.raises(ManyheadsError, match="does not fit"):
        AdaptedModel("adapter", base, info, wrong)


def test_the_command_writes_adapter_curve_and_figures(base, practice, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "practices", lambda worlds: [practice])
    monkeypatch.setattr(command, "_divided", lambda found, held_out: ([practice], [practice]))
    monkeypatch.setattr(command, "base_model", lambda name: base)
    out = tmp_path / "writer.safetensors"
    arguments = ["world", "--model", base.name, "--out", str(out), "--warm", "1", "--steps", "1", "--goals", "1"]
    found = CliRunner().invoke(command.ground, [*arguments, "--group", "2", "--held", "2", "--json"])
    assert found.exit_code == 0, found.output
    figures = json.loads(found.stdout)
    assert {"held-out environments before", "held-out wordings after"} <= figures.keys()
    assert out.exists()
    assert len(out.with_suffix(".jsonl").read_text().splitlines()) == 3
    assert out.with_suffix(".svg").read_text().startswith("<?xml")


def test_an_environment_that_was_not_recorded_can_not_be_held_out(practice):
    with pytest.raises(ManyheadsError, match="dmc/cartpole"):
        command._divided([practice], ["dmc/walker"])
