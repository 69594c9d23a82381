"""Grounding: practice goals whose truth is known, decisions that are learned, and the file that comes of it."""

import json
from dataclasses import replace

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
from manyheads_glam.grounding.attempts import Deciding, sampler, write, write_right, write_together
from manyheads_glam.grounding.earned import rank_of
from manyheads_glam.grounding.policy import Policy
from manyheads_glam.grounding.practice import Practice, ask
from manyheads_glam.grounding.train import GroundSettings, Run
from manyheads_glam.models.adapter import AdaptedModel, AdapterInfo, read_adapter, save_adapter
from manyheads_glam.models.causal import CausalModel
from manyheads_glam.models.choose import choose
from manyheads_glam.models.settings import ModelSettings
from manyheads_glam.models.word_vectors import word_vectors
from manyheads_glam.transcript import Trust
from manyheads_glam.understanding import understand
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
    found = [rank_of(practice, goal, write_right(policy, goal, practice, [])) for goal in goals(practice, 20)]
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


def weighted(policy, practice):
    """Questions of a few goals, with a weight for each option."""
    random = np.random.default_rng(0)
    choices = [one for goal in goals(practice, 3) for one in write_right(policy, goal, practice, []).choices]
    return {
        q: random.normal(size=len(q.options)).astype(np.float32) for q in dict.fromkeys(c.question for c in choices)
    }


def gradients(policy):
    found = torch.cat([parameter.grad.flatten() for parameter in policy.parameters])
    policy.adapted.zero_grad()
    return found


def with_an_adapter(policy):
    """Weights that make a difference: an adapter begins with zeros."""
    random = torch.Generator().manual_seed(0)
    changed = {name: x + 0.3 * torch.randn(x.shape, generator=random) for name, x in policy.tensors().items()}
    policy.load(changed)
    return policy


def plain_losses(policy, asked):
    """Minus the weighted log-probabilities by the whole model, one candidate at a time."""
    tokenizer = policy.base.tokenizer
    for question, weights in asked.items():
        means = []
        for text in question.says:
            given = tokenizer(question.given()).input_ids
            own = tokenizer(text, add_special_tokens=False).input_ids
            logits = policy.adapted(torch.tensor([given + own])).logits[0, len(given) - 1 : -1]
            means.append(logits.log_softmax(-1).gather(-1, torch.tensor(own)[:, None]).mean())
        prior = torch.tensor(policy.prior(question.empty(), question.says))
        evidence = torch.tensor([option.lexicon + option.retrieval for option in question.options])
        log = (evidence + policy.trust.weight * (torch.stack(means) - prior)).log_softmax(-1)
        yield -(log * torch.from_numpy(weights)).sum()


def test_gradients_of_all_questions_at_once_are_those_of_the_whole_model_one_by_one(practice, policy):
    with_an_adapter(policy)
    asked = weighted(policy, practice)
    assert len(asked) > 3
    policy.backward(asked)
    packed = gradients(policy)
    for loss in plain_losses(policy, asked):
        loss.backward()
    plain = gradients(policy)
    assert packed.abs().max() > 1e-3
    assert torch.allclose(packed, plain, rtol=1e-3, atol=1e-5)
    policy.backward(asked)  # what the lower layers made of them is known now
    assert torch.allclose(gradients(policy), plain, rtol=1e-3, atol=1e-5)
    assert all(parameter.grad is None for name, parameter in policy.adapted.named_parameters() if "lora" not in name)


def test_gradients_in_bfloat16_point_where_those_in_float32_do(base, practice):
    full = with_an_adapter(Policy(base, 4, 8.0, TRUST, seed=0))
    asked = weighted(full, practice)
    full.backward(asked)
    short = with_an_adapter(Policy(TinyModel("again", base.folder), 4, 8.0, TRUST, seed=0, dtype=torch.bfloat16))
    short.backward(asked)
    assert torch.cosine_similarity(gradients(full), gradients(short), dim=0) > 0.95
    assert all(parameter.dtype == torch.float32 for parameter in short.parameters)


def test_a_model_that_reads_every_place_as_what_has_none_is_refused(practice, policy):
    """No clause is left then, and a specification of nothing is none."""

    def upright(question, totals):
        return sorted(range(len(totals)), key=lambda i: "cosine" not in question.options[i].answer)

    sentence = "Rush to the left end, and dash to the right end."
    with pytest.raises(ManyheadsError, match=r"Nothing here says where that is: 'Rush to .* measures"):
        understand(sentence, practice.instance, Deciding(policy, upright))
    [goal] = goals(practice, 1)
    assert write(replace(goal, sentence=sentence), practice, Deciding(policy, upright)).spec is None


def as_the_words_say(question, totals):
    return sorted(range(len(totals)), key=lambda i: -question.options[i].lexicon)


@pytest.mark.parametrize(
    ("sentence", "question", "named", "opposite"),
    [
        ("Keep the cart on the right.", "which side", "high", "low"),
        ("Move the cart to the left fast.", "which side", "fast", "slow"),
        ("Move the cart to the left fast.", "which way", "minus", "plus"),
    ],
)
def test_no_model_is_offered_the_opposite_of_what_the_words_name(practice, policy, sentence, question, named, opposite):
    model = Deciding(policy, as_the_words_say)
    understand(sentence, practice.instance, model)
    [asked] = [choice.question for choice in model.choices if choice.question.question == question]
    answers = [option.answer for option in asked.options]
    assert named in answers
    assert opposite not in answers


def test_attempts_together_decide_as_each_does_alone(practice, policy):
    with_an_adapter(policy)
    drawn = [(practice, goal) for goal in goals(practice, 3) for _ in range(4)]
    orders = [lambda seed=seed: sampler(np.random.default_rng(seed)) for seed in range(len(drawn))]
    found = write_together(policy, drawn, orders)
    policy.weights_changed()
    for (_, goal), order, attempt in zip(drawn, orders, found, strict=True):
        alone = write(goal, practice, Deciding(policy, order()))
        assert [choice.taken for choice in alone.choices] == [choice.taken for choice in attempt.choices]
        assert alone.spec == attempt.spec


def test_a_model_of_another_build_can_not_be_trained(base):
    base.model.model.layers, base.model.model.blocks = None, base.model.model.layers
    del base.model.model._modules["layers"]
    with pytest.raises(ManyheadsError, match="Llama"):
        Policy(base, 4, 8.0, TRUST, seed=0)


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
    assert {"reward", "rank", "told apart"} <= run.curve[0].keys()
    assert run.curve[0]["reward"] == run.curve[0]["rank"]
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
    monkeypatch.setattr(command, "practices", lambda worlds, updates, steps: [practice])
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
