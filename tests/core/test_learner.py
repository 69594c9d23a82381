"""One update: masks, several heads, a frozen world, refusal of NaN, resuming bit for bit."""

import pytest
import torch
from small_agent import BOTH, QUICK, VECTOR, random_batch, small_head, small_learner, small_world

from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.learning.learner import Learner


def _weights(*modules):
    return {f"{i}.{n}": x.clone() for i, m in enumerate(modules) for n, x in m.state_dict().items()}


def _same(a, b):
    return a.keys() == b.keys() and all(torch.equal(x, b[n]) for n, x in a.items())


def test_an_update_trains_everything_and_returns_states():
    world = small_world()
    head = small_head(world)
    batch, labels, *masks = random_batch(world)
    before = _weights(world, head)
    learner = small_learner(world, {"task": head})
    for _ in range(3):  # outputs that start at zero let nothing through at first
        update = learner.update(batch, {"task": labels}, *masks)
    after = _weights(world, head)
    assert not [name for name, x in before.items() if torch.equal(x, after[name])]
    assert update.latents.deter.shape == (4, 6, 16)
    assert not update.latents.deter.requires_grad
    assert (update.latents.stoch.sum(-1) == 1).all()
    assert {"world/dyn", "world/image", "task/policy", "task/replay_value"} <= update.metrics.keys()


@pytest.mark.parametrize("places", [BOTH, VECTOR, SpaceLayout(image=(8, 8, 1), discrete=(("m", 3),))])
@pytest.mark.parametrize("rows", [1, 3])
def test_every_kind_of_place_and_one_row_sequences(places, rows):
    world = small_world(places)
    learner = small_learner(world, {"task": small_head(world)})
    for seed in range(2):
        batch, labels, *masks = random_batch(world, rows=rows, seed=seed)
        learner.update(batch, {"task": labels}, *masks)


def test_it_learns_a_fixed_batch():
    world = small_world()
    learner = small_learner(world, {"task": small_head(world)})
    batch, labels, *masks = random_batch(world)
    losses = [learner.update(batch, {"task": labels}, *masks).metrics for _ in range(40)]
    for term in ("world/image", "world/vector", "task/reward"):
        assert losses[-1][term] < 0.85 * losses[0][term]


def test_resuming_gives_the_same_bits():
    def build():
        world = small_world()
        return world, small_head(world), small_head(world)

    def run(learner, seeds):
        for seed in seeds:
            batch, labels, *masks = random_batch(learner.world, seed=seed)
            learner.update(batch, {"a": labels, "b": labels}, *masks)

    world, a, b = build()
    learner = small_learner(world, {"a": a, "b": b})
    run(learner, range(3))
    state = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    saved = [m.state_dict() for m in (world, a, b)]
    saved = [{n: x.clone() for n, x in s.items()} for s in saved]
    run(learner, range(3, 6))

    world2, a2, b2 = build()
    for module, weights in zip((world2, a2, b2), saved, strict=True):
        module.load_state_dict(weights)
    resumed = small_learner(world2, {"a": a2, "b": b2}, seed=99)
    resumed.load_state_dict(state)
    run(resumed, range(3, 6))
    assert _same(_weights(world, a, b), _weights(world2, a2, b2))
    assert _same(learner.state_dict(), resumed.state_dict())


def test_a_head_that_joins_later_starts_its_own_warmup():
    world = small_world(VECTOR)
    head = small_head(world)
    batch, labels, *masks = random_batch(world)
    first = small_learner(world, {"old": head})
    first.update(batch, {"old": labels}, *masks)
    second = small_learner(world, {"old": head, "new": small_head(world)})
    second.load_state_dict(first.state_dict())
    counts = {name: optimizer.state_dict()["count"].item() for name, optimizer in second.optimizers.items()}
    assert counts == {"world": 1, "old": 1, "new": 0}


def test_state_of_another_model_is_refused():
    learner = small_learner(small_world(VECTOR), {})
    other = small_learner(small_world(VECTOR, units=8), {})
    with pytest.raises(ManyheadsError, match=r"shape .* belongs to another model"):
        learner.load_state_dict(other.state_dict())
    with pytest.raises(ManyheadsError, match="belongs to another model"):
        learner.load_state_dict(small_learner(small_world(BOTH), {}).state_dict())


@pytest.mark.parametrize("term", ["world/image", "task/reward"])
def test_nan_is_refused_by_name_and_nothing_changes(term):
    world = small_world()
    head = small_head(world)
    learner = small_learner(world, {"task": head})
    batch, labels, *masks = random_batch(world)
    learner.update(batch, {"task": labels}, *masks)
    before, optimizers = _weights(world, head), [o.state_dict() for o in learner.optimizers.values()]
    if term == "world/image":
        masks[1][1] = torch.nan
    else:
        labels.reward[2, 3] = torch.nan
    with pytest.raises(ManyheadsError, match=f"{term} became nan; the weights are as they were"):
        learner.update(batch, {"task": labels}, *masks)
    assert _same(before, _weights(world, head))
    for saved, optimizer in zip(optimizers, learner.optimizers.values(), strict=True):
        assert _same(saved, optimizer.state_dict())
    assert all(p.grad is None for p in (*world.parameters(), *head.parameters()))


def test_harmonised_losses_are_minimised_and_the_terms_stay_comparable():
    scales = {"dyn": 1.0, "rep": 0.1, "vector": 1.0, "image": 0.5}
    fixed, world = (small_world(scales=scales, loss_weights=kind) for kind in ("fixed", "harmonised"))
    batch, _, *masks = random_batch(world)
    for index, s in enumerate(world.harmony.s.values()):
        torch.nn.init.constant_(s, index - 1.5)
    plain = small_learner(fixed, {}).losses(batch, {}, *masks)[0]
    learner = small_learner(world, {})
    losses = learner.losses(batch, {}, *masks)[0]
    expected = 0
    for name, s in world.harmony.s.items():
        torch.testing.assert_close(losses[f"world/{name}"], plain[f"world/{name}"])
        expected += plain[f"world/{name}"] / s.exp() + scales[name] * torch.log(1 + s.exp())
    torch.testing.assert_close(sum(losses.values()), expected)
    before = _weights(world)
    metrics = learner.update(batch, {}, *masks).metrics
    assert metrics["world/dyn_weight"] == pytest.approx(before["0.harmony.s.dyn"].neg().exp().item())
    assert not any(torch.equal(s, before[f"0.harmony.s.{name}"]) for name, s in world.harmony.s.items())


@pytest.mark.parametrize("loss_weights", ["fixed", "harmonised"])
def test_a_frozen_world_stays_and_its_heads_learn(loss_weights):
    world = small_world(loss_weights=loss_weights)
    head = small_head(world)
    learner = small_learner(world, {"task": head}, train_world=False)
    batch, labels, *masks = random_batch(world)
    before, actor = _weights(world), _weights(head.actor)
    update = learner.update(batch, {"task": labels}, *masks)
    assert not any(name.startswith("world/") for name in update.metrics)
    metrics = learner.update_heads(batch, update.latents, {"task": labels}).metrics
    assert metrics["task/reward"] < update.metrics["task/reward"]
    assert _same(before, _weights(world))
    assert not _same(actor, _weights(head.actor))
    assert all(p.grad is None for p in world.parameters())


def test_gradients_into_the_world_can_be_switched_off():
    batch, labels, *masks = random_batch(small_world())
    after = []
    for heads in (True, True, False):
        world = small_world()
        head = small_head(world, gradients_into_world=len(after) == 0)
        with torch.no_grad():
            head.reward.out.weight.normal_(generator=torch.Generator().manual_seed(0))
        learner = small_learner(world, {"task": head} if heads else {})
        learner.update(batch, {"task": labels} if heads else {}, *masks)
        after.append(_weights(world))
    joint, cut, alone = after
    assert _same(cut, alone)
    assert not _same(joint, alone)


def test_rows_of_others_train_nothing_of_a_head():
    world = small_world()
    batch, labels, *masks = random_batch(world)
    labels.mask[1:] = False
    after = []
    for value in (0.0, 1e6, torch.nan):
        labels.reward[1:] = value
        labels.is_terminal[1:] = value == 0
        world, head = small_world(), None
        head = small_head(world)
        small_learner(world, {"task": head}).update(batch, {"task": labels}, *masks)
        after.append(_weights(world, head))
    assert _same(after[0], after[1])
    assert _same(after[0], after[2])


def test_a_batch_without_any_own_row_leaves_a_head_as_it_was():
    world = small_world()
    head = small_head(world)
    batch, labels, *masks = random_batch(world)
    labels.mask[:] = False
    before = _weights(head)
    small_learner(world, {"task": head}).update(batch, {"task": labels}, *masks)
    assert _same(before, _weights(head))


def test_heads_share_the_batch_and_imagine_from_their_own_sequences():
    world = small_world()
    heads = {"a": small_head(world), "b": small_head(world)}
    learner = small_learner(world, heads)
    batch, labels, *masks = random_batch(world, sequences=6)
    mine = labels.mask.clone()
    mine[2:] = False
    for owned, allowed in ((mine, {0, 1}), (~mine, {2, 3, 4, 5})):
        starts = learner._start_index(owned, torch.Generator().manual_seed(0))
        assert len(starts) == 3
        assert set(starts.tolist()) <= allowed
    everything = learner._start_index(labels.mask, torch.Generator().manual_seed(0))
    assert len(set(everything.tolist())) == 3
    metrics = learner.update(batch, {"a": labels._replace(mask=mine), "b": labels._replace(mask=~mine)}, *masks).metrics
    assert {"a/policy", "b/policy"} <= metrics.keys()


def test_a_heads_randomness_does_not_depend_on_its_neighbours():
    world = small_world(VECTOR)
    alone = small_learner(world, {"a": small_head(world)})
    together = small_learner(world, {"b": small_head(world), "a": small_head(world)})
    assert torch.equal(alone.generators["a"].get_state(), together.generators["a"].get_state())
    assert not torch.equal(alone.generators["a"].get_state(), together.generators["b"].get_state())


def test_places_that_an_instance_lacks_are_not_reconstructed():
    world = small_world()
    batch, _, vector_mask, image_mask = random_batch(world)
    vector_mask[:, 1] = 0
    image_mask[2] = 0
    start, noise = world.initial(4), world.draw_noise(4, 6)
    observed = world.observe(batch.image, batch.vector, batch.previous_action, batch.is_first, start, noise)
    target = batch.vector.clone()
    target[..., 1] = 1e3
    losses = [world.losses(observed, batch.image, vector, vector_mask, image_mask) for vector in (batch.vector, target)]
    assert torch.equal(losses[0]["vector"], losses[1]["vector"])
    assert not losses[0]["image"][2].any()
    assert losses[0]["image"][[0, 1, 3]].all()


def test_labels_are_needed_and_the_worlds_name_is_taken():
    world = small_world(VECTOR)
    batch, _, *masks = random_batch(world)
    with pytest.raises(ManyheadsError, match="no labels for 'task'"):
        small_learner(world, {"task": small_head(world)}).update(batch, {}, *masks)
    with pytest.raises(ManyheadsError, match="can't be named 'world'"):
        Learner(world, {"world": small_head(world)}, QUICK)
