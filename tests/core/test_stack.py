"""Heads that train as one batch: the numbers of one by one, and nothing of the neighbours."""

import pytest
import torch
from small_agent import BOTH, VECTOR, TracedOnly, Uncompiled, head_context, random_batch, small_learner, small_world

from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.execution.eager import Execution
from manyheads.heads.actor_critic import ActorCritic, ActorCriticSettings
from manyheads.heads.stacked_actor_critic import ActorCriticStack

pytestmark = pytest.mark.usefixtures("traced_once", "no_compiler")
NAMES = ("a", "b", "c")
LACKS = SpaceLayout(vector=("p", "q"), continuous=("u",))
"""an instance that lacks an action of the world's"""


def head(world, seed, instance=None, **settings):
    torch.manual_seed(seed)
    made = ActorCritic(head_context(world, ActorCriticSettings(**({"horizon": 3} | settings)), instance))
    for two_hot in (made.reward, made.critic, made.slow_critic):
        torch.nn.init.normal_(two_hot.out.weight, 0, 0.1)
        two_hot.out.bias.data = -0.3 * (torch.arange(255) - 127.0).abs()
    return made


def heads_of(world, names=NAMES):
    return {name: head(world, ord(name), LACKS if name == "b" else None) for name in names}


def labels_of(labels, names=NAMES):
    """Each task with rewards and rows of its own."""
    found = {}
    for name in names:
        random = torch.Generator().manual_seed(ord(name))
        mask = torch.rand(labels.mask.shape, generator=random) < 0.8
        found[name] = labels._replace(reward=torch.randn(mask.shape, generator=random), mask=mask)
    return found


def weights(modules):
    return {f"{of}.{name}": x.clone() for of, module in modules.items() for name, x in module.state_dict().items()}


def trained(execution, names=NAMES, frozen=False, updates=3, places=VECTOR, stay=None, **settings):
    """Weights, optimisers' state and metrics after some updates."""
    world = small_world(places)
    world.execution = execution
    heads = heads_of(world, names)
    learner = small_learner(world, heads, train_world=not frozen, **settings)
    for seed in range(updates):
        batch, labels, *masks = random_batch(world, seed=seed)
        own = labels_of(labels, names)
        if frozen:
            latents = learner.losses(batch, own, *masks)[1].detach()
            update = learner.update_heads(batch, latents, own)
        else:
            update = learner.update(batch, own, *masks)
    return weights({"world": world, **heads}), learner.state_dict(), update.metrics


def assert_near(found, expected, tolerance=2e-4):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        one, other = torch.as_tensor(found[name]).double(), torch.as_tensor(value).double()
        assert (one - other).norm() <= tolerance * (other.norm() + 1), name


@pytest.mark.parametrize("execution", [Execution, Uncompiled, TracedOnly])
@pytest.mark.parametrize("frozen", [False, True], ids=["joint", "frozen"])
def test_a_stack_learns_what_its_heads_learn_one_by_one(execution, frozen):
    alone = trained(Execution(), frozen=frozen, stack_from=0)
    stacked = trained(execution(), frozen=frozen, stack_from=2)
    for found, expected in zip(stacked, alone, strict=True):
        assert_near(found, expected)


@pytest.mark.parametrize("execution", [Execution, Uncompiled])
def test_with_choices_images_and_free_places(execution):
    alone = trained(Execution(), places=BOTH, stack_from=0)
    stacked = trained(execution(), places=BOTH, stack_from=2, stack_room=4)
    for found, expected in zip(stacked, alone, strict=True):
        assert_near(found, expected)


def test_heads_do_not_feel_their_neighbours_on_a_frozen_world():
    """Bit for bit where the stack has the same room; also together with heads that are removed or loaded meanwhile."""
    together, optimizers, numbers = trained(Execution(), frozen=True, stack_from=1, stack_room=3)
    for names in (("b",), ("c", "a")):
        fewer, own, metrics = trained(Execution(), names, frozen=True, stack_from=1, stack_room=3)
        for found, every in ((fewer, together), (own, optimizers), (metrics, numbers)):
            assert all(torch.equal(torch.as_tensor(x), torch.as_tensor(every[name])) for name, x in found.items())


def updated(learner, names, seed, frozen_latents):
    batch, labels, *_ = random_batch(learner.world, seed=seed)
    return learner.update_heads(batch, frozen_latents, labels_of(labels, names)).metrics


@pytest.mark.parametrize("change", ["join", "leave", "load"])
def test_a_change_of_one_head_leaves_the_others_as_they_were(change):
    results = []
    for changes in (False, True):
        world = small_world(VECTOR)
        world.execution = execution = TracedOnly()
        heads = heads_of(world, ("a", "b", "c", "d"))
        names = ["a", "b", "c"]
        learner = small_learner(world, {n: heads[n] for n in names}, train_world=False, stack_from=2, stack_room=4)
        batch, labels, *masks = random_batch(world)
        latents = learner.losses(batch, labels_of(labels, names), *masks)[1].detach()
        updated(learner, names, 0, latents)
        traced = len(execution.traced)
        if changes and change == "join":
            learner.join("d", heads["d"])
            names.append("d")
        elif changes and change == "leave":
            assert learner.leave("c") is heads["c"]
            names.remove("c")
        elif changes:
            heads["c"].load_state_dict(heads["d"].state_dict())
        kept = weights({"c": heads["c"]})
        for seed in (1, 2):
            numbers = updated(learner, names, seed, latents)
        assert len(execution.traced) == traced
        if changes and change == "leave":
            assert all(torch.equal(x, kept[name]) for name, x in weights({"c": heads["c"]}).items())
        own = {name: numbers[name] for name in numbers if name[0] in "ab"}
        state = {name: x for name, x in learner.state_dict().items() if name[0] in "ab"}
        results.append((weights({n: heads[n] for n in "ab"}), state, own))
    for found, expected in zip(*results, strict=True):
        assert found.keys() == expected.keys()
        assert all(torch.equal(torch.as_tensor(x), torch.as_tensor(expected[name])) for name, x in found.items())


def test_a_head_that_joined_learns_as_if_it_were_alone():
    found = []
    for neighbours in ((), ("a", "b", "c")):
        world = small_world(VECTOR)
        heads = heads_of(world, (*neighbours, "d"))
        first = {name: heads[name] for name in neighbours}
        learner = small_learner(world, first, train_world=False, stack_from=2, stack_room=4)
        batch, labels, *masks = random_batch(world)
        latents = learner.losses(batch, labels_of(labels, neighbours), *masks)[1].detach()
        if neighbours:
            updated(learner, neighbours, 0, latents)
        learner.join("d", heads["d"])
        for seed in (1, 2):
            updated(learner, (*neighbours, "d"), seed, latents)
        found.append(weights({"d": heads["d"]}))
    assert_near(*found)


def test_heads_of_other_kinds_and_shapes_train_beside():
    world = small_world(VECTOR)
    heads = heads_of(world) | {
        "d": head(world, 5, policy_gradient="dynamics"),
        "l": head(world, 6, horizon=4),
    }
    learner = small_learner(world, heads, stack_from=2)
    assert [group.names for group in learner.groups] == [("a", "b", "c"), ("d",), ("l",)]
    batch, labels, *masks = random_batch(world)
    numbers = learner.update(batch, labels_of(labels, heads), *masks).metrics
    assert {name.partition("/")[0] for name in numbers} == {"world", *heads}
    assert {name for name in numbers if name.startswith("a/")} == {
        name.replace("l/", "a/", 1) for name in numbers if name.startswith("l/")
    }


def test_another_shape_is_refused():
    world = small_world(VECTOR)
    with pytest.raises(ManyheadsError, match="d is of another kind or shape than the heads a, b"):
        ActorCriticStack(heads_of(world, ("a", "b")) | {"d": head(world, 1, horizon=5)})


def test_elements_that_joined_later_count_their_own_steps():
    """A head that grew keeps the count of its new elements in a stack, too."""
    states = []
    for least in (0, 2):
        world = small_world(VECTOR)
        heads = heads_of(world)
        learner = small_learner(world, heads, stack_from=least)
        batch, labels, *masks = random_batch(world)
        for _ in range(2):
            learner.update(batch, labels_of(labels), *masks)
        saved = learner.state_dict()
        key = "b/optimizer/born/actor.mean.bias"
        saved[key] = torch.tensor([0.0, 2.0])
        saved["b/optimizer/square/actor.mean.bias"][1] = 0
        learner.load_state_dict(saved)
        learner.update(batch, labels_of(labels), *masks)
        assert learner.state_dict()[key].tolist() == [0, 2]
        states.append(weights(heads))
    assert_near(*states)
