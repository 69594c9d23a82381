"""Standardised vectors: what is learned from batches, and what a world makes of it."""

import pytest
import torch
from small_agent import BOTH, VECTOR, Uncompiled, random_batch, small_head, small_learner, small_world

from manyheads.errors import ManyheadsError
from manyheads.world.running_norm import BATCHES, MIN_STD, RunningNorm


def rows(*places, sequences=4, length=8):
    """Rows with a mean and a deviation for each place."""
    numbers = torch.randn(sequences, length, len(places), dtype=torch.float64)
    numbers = (numbers - numbers.mean((0, 1))) / numbers.std((0, 1), unbiased=False)
    means, deviations = zip(*places, strict=True)
    return (numbers * torch.tensor(deviations) + torch.tensor(means)).float()


def test_nothing_is_changed_before_the_first_batch():
    vector = rows((3.0, 0.1), (0.0, 50.0))
    assert torch.equal(RunningNorm(2).normalize(vector), vector)


def test_the_first_batch_is_standard_and_comes_back_in_its_units():
    standard, vector = RunningNorm(3), rows((3.0, 0.1), (-70.0, 50.0), (1.0, 0.0))
    standard.update(vector, torch.ones(4, 3))
    seen = standard.normalize(vector)
    torch.testing.assert_close(seen.mean((0, 1)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.std((0, 1), unbiased=False), torch.tensor([1.0, 1.0, 0.0]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(standard.denormalize(seen), vector, atol=1e-4, rtol=1e-5)
    assert standard.normalize(vector + MIN_STD)[..., 2].max() <= 1.001, "a place at rest is not magnified without bound"


def test_alike_batches_weigh_alike():
    standard, batches = RunningNorm(2), [rows((mean, 1.0 + mean), (0.0, 1.0)) for mean in (0.0, 1.0, 5.0)]
    for vector in batches:
        standard.update(vector, torch.ones(4, 2))
    everything = torch.cat(batches)
    torch.testing.assert_close(standard.mean, everything.mean((0, 1)))
    torch.testing.assert_close(standard.variance, everything.var((0, 1), unbiased=False))


def test_old_batches_fade():
    standard = RunningNorm(1)
    for mean in (0.0, 1.0):
        for _ in range(10 * BATCHES):
            standard.update(torch.full((1, 1, 1), mean), torch.ones(1, 1))
    assert standard.mean.item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("before", [0, 50])
@pytest.mark.parametrize("value", [1e20, -3e38])
def test_one_wrong_row_stays_finite_and_passes(before, value):
    norm, mask = RunningNorm(2), torch.ones(4, 2)
    for _ in range(before):
        norm.update(rows((3.0, 2.0), (0.0, 1.0)), mask)
    wrong = rows((3.0, 2.0), (0.0, 1.0))
    wrong[1, 2, 0] = value
    norm.update(wrong, mask)
    assert torch.isfinite(norm.normalize(wrong)).all()
    untouched = norm.mean[1].item(), norm.variance[1].item()
    assert untouched == pytest.approx((0.0, 1.0), abs=1e-4)
    if before:
        assert norm.variance[0].sqrt() < 100
    for _ in range(BATCHES if before else 0):
        norm.update(rows((3.0, 2.0), (0.0, 1.0)), mask)
    assert torch.isfinite(norm.variance).all()
    if before:
        assert norm.variance[0].sqrt() == pytest.approx(2.0, rel=0.5)


def test_only_places_that_a_sequence_has_count():
    standard, vector, mask = RunningNorm(2), rows((3.0, 2.0), (0.0, 1.0)), torch.ones(4, 2)
    mask[2:, 0] = mask[:, 1] = 0
    standard.update(vector, mask)
    torch.testing.assert_close(standard.mean, torch.stack([vector[:2, :, 0].mean(), torch.tensor(0.0)]))
    assert standard.variance[1] == 1
    assert standard.batches.tolist() == [1, 0]
    with pytest.raises(ManyheadsError, match="mask"):
        standard.update(vector, torch.ones(4, 3))


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "fast"])
def test_a_world_observes_and_reconstructs_standard_vectors(fast):
    natural, world = small_world(), small_world(vectors="standardised")
    if fast:
        world.execution = Uncompiled()
    batch, _, *masks = random_batch(world)
    vector = 0.01 * batch.vector + 5
    world.update_norm(vector, masks[0])
    noise, results = world.draw_noise(4, 6), []
    for model, given in ((natural, world.vector_norm.normalize(vector)), (world, vector)):
        observed = model.observe(batch.image, given, batch.previous_action, batch.is_first, model.initial(4), noise)
        losses = model.losses(observed, batch.image, given, *masks)
        step = model.step(None if batch.image is None else batch.image[:, 0], given[:, 0], batch.previous_action[:, 0],
                          batch.is_first[:, 0], model.initial(4), noise[:, 0])  # fmt: skip
        results.append((losses, step.deter, model.decode(step)[1]))
    torch.testing.assert_close(results[0][:2], results[1][:2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(world.vector_norm.denormalize(results[0][2]), results[1][2], rtol=1e-4, atol=1e-5)


def test_what_an_instance_lacks_looks_the_same_whatever_it_is_elsewhere():
    """Entries of others that are usually large would else be most of what the encoder sees."""
    world, _ = small_world(BOTH, vectors="standardised"), torch.manual_seed(0)
    batch, _, vector_mask, _ = random_batch(world)
    vector_mask[:2, 1] = 0
    batch.vector[:2, :, 1] = 0
    noise, found = world.draw_noise(4, 6), []
    for shift in (0.0, 50.0):
        world.vector_norm = RunningNorm(2)
        vector = batch.vector.clone()
        vector[2:, :, 1] += shift
        world.update_norm(vector, vector_mask)
        given, at = (batch.previous_action, batch.is_first), world.initial(4)
        observed = world.observe(batch.image, vector, *given, at, noise, vector_mask)
        first = (batch.image[:, 0], vector[:, 0], *(part[:, 0] for part in given), at, noise[:, 0], vector_mask)
        found.append((observed.posterior, world.step(*first).stoch))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("train_world", [True, False])
def test_updates_of_the_world_learn_what_is_usual_and_its_weights_carry_it(train_world):
    world = small_world(VECTOR, vectors="standardised")
    heads = {"left": small_head(world)}
    batch, labels, *masks = random_batch(world)
    small_learner(world, heads, train_world=train_world).update(batch, {"left": labels}, *masks)
    saved = world.state_dict()
    assert bool(saved["vector_norm.batches"].all()) == train_world
    assert torch.equal(saved["vector_norm.mean"] == 0, torch.full((2,), not train_world))


def test_a_learner_takes_in_what_sequences_have():
    world, own = small_world(VECTOR, vectors="standardised"), RunningNorm(2)
    batch, labels, vector_mask, image_mask = random_batch(world)
    vector_mask[2:, 0] = 0
    small_learner(world, {"left": small_head(world)}).update(batch, {"left": labels}, vector_mask, image_mask)
    own.update(batch.vector, vector_mask)
    torch.testing.assert_close(world.vector_norm.mean, own.mean)
    torch.testing.assert_close(world.vector_norm.variance, own.variance)


def test_only_standardised_worlds_have_anything_to_learn():
    plain, standardised = small_world(BOTH, vectors="natural"), small_world(BOTH, vectors="standardised")
    assert standardised.state_dict().keys() - plain.state_dict().keys() == {
        "vector_norm.mean", "vector_norm.variance", "vector_norm.batches"
    }  # fmt: skip
    assert dict(plain.named_parameters()).keys() == dict(standardised.named_parameters()).keys()
