"""What a GPU needs of an update and of the loop around it, as far as a CPU can show it."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from fake_experience import LAYOUT, PICTURED, random_latents, random_rows, recorded
from small_agent import BOTH, Uncompiled, random_batch, small_head, small_learner, small_world
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from manyheads.errors import ManyheadsError
from manyheads.execution.cuda_graph import map_tensors, tree_tensors
from manyheads.experience.replay import Replay
from manyheads.heads.policy import VectorPolicy
from manyheads.learning.prefetch import BatchSampler, Prefetcher, UpdateCount

CPU = torch.device("cpu")
READING = {"item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__"}
WAITING = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "unique",
    "equal",
    "is_nonzero",
    "lift_fresh",
    "repeat_interleave",
)


class Regions(Uncompiled):
    """Regions run as they are; that each is one static graph is shown elsewhere."""

    def region(self, function):
        def call(*args):
            with _disable_current_modes():
                return function(*args)

        return call


class NoWaitingOperation(TorchDispatchMode):
    """Refuses operations whose result the host needs, or whose shape depends on data."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert not name.startswith(WAITING), f"{name} waits for the device"
        if name in ("index", "index_put_"):
            assert all(x is None or x.dtype is not torch.bool for x in args[1]), "the shape depends on data"
        return func(*args, **(kwargs or {}))


class NoReading(TorchFunctionMode):
    """Refuses to read a tensor's numbers."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        assert name not in READING, f"{name} waits for the device"
        return func(*args, **(kwargs or {}))


@contextmanager
def never_waiting():
    with NoReading(), NoWaitingOperation():
        yield


@contextmanager
def deferred_learner():
    world = small_world(BOTH)
    world.execution = Regions()
    heads = {name: small_head(world) for name in ("left", "right")}
    learner = small_learner(world, heads)
    learner.asynchronous = True
    batch, labels, *masks = random_batch(world)
    yield learner, (batch, dict.fromkeys(heads, labels), *masks)


def test_an_update_never_waits_for_the_device():
    with deferred_learner() as (learner, arguments), never_waiting():
        for _ in range(2):
            update = learner.update(*arguments)
        heads = learner.update_heads(arguments[0], update.latents, arguments[1])
    assert update.metrics["world/dyn"] > 0
    assert "left/policy" in heads.metrics


def test_a_step_of_acting_never_waits_for_the_device():
    with deferred_learner() as (learner, (batch, *_)):
        policies = VectorPolicy(learner.world, learner.heads, ["left", None, "right", "left"], [BOTH] * 4, seed=0)
        with torch.no_grad(), never_waiting():
            action, _ = policies._step(batch.image[:, 0], batch.vector[:, 0], batch.is_first[:, 0])
    assert action.shape == (4, BOTH.action_size)


def test_what_waits_is_seen():
    with deferred_learner() as (learner, arguments):
        learner.asynchronous = False
        with pytest.raises(AssertionError, match="waits for the device"), never_waiting():
            learner.update(*arguments)


def test_deferred_and_checked_updates_are_the_same():
    with deferred_learner() as (deferred, arguments), deferred_learner() as (checked, _):
        checked.asynchronous = False
        numbers = [[learner.update(*arguments).metrics for _ in range(3)] for learner in (deferred, checked)]
    assert numbers[0] == numbers[1]


def test_deferred_numbers_refuse_what_is_not_finite_when_read():
    with deferred_learner() as (learner, (batch, labels, *masks)):
        masks[1][1] = torch.nan
        update = learner.update(batch, labels, *masks)
    with pytest.raises(ManyheadsError, match="world/image became nan; the last checkpoint stands"):
        update.numbers.require_finite("the last checkpoint stands")


@pytest.mark.parametrize("ahead", [False, True])
def test_every_batch_is_learned_from_and_kept_once_in_order(ahead):
    seen = []

    def draw():
        number = sum(kind == "draw" for kind, _ in seen)
        seen.append(("draw", number))
        return number, number

    def learn(work):
        seen.append(("learn", work))
        return work

    feed = Prefetcher(
        draw, learn, lambda at, where, update: seen.append(("keep", (at.updates, where, update))), CPU, ahead
    )
    for updates in range(3):
        feed.update(UpdateCount(0, updates))
    feed.drain()
    feed.drain()
    by_kind = {kind: [what for one, what in seen if one == kind] for kind in ("draw", "learn", "keep")}
    assert by_kind["learn"] == [0, 1, 2]
    assert by_kind["keep"] == [(0, 0, 0), (1, 1, 1), (2, 2, 2)]
    kinds = "".join(kind[0] for kind, _ in seen)
    assert kinds == ("dldldkldkk" if ahead else "dlk" * 3)


def test_what_shares_memory_is_made_whole_before_it_is_pinned(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: x if x.is_contiguous() else pytest.fail("not whole"))
    work = torch.zeros(3, 1).expand(3, 4)
    feed = Prefetcher(lambda: (work, None), None, None, torch.device("meta"), ahead=True)
    moved, _ = feed._fetch()
    assert (moved.device.type, moved.shape) == ("meta", (3, 4))


def test_trees_of_tensors_keep_their_form():
    with deferred_learner() as (_, arguments):
        doubled = map_tensors(lambda x: x + x, arguments)
    assert type(doubled[0]) is type(arguments[0])
    assert doubled[0].image is not None
    for one, two in zip(tree_tensors(arguments), tree_tensors(doubled), strict=True):
        assert torch.equal(one + one, two)
    assert map_tensors(torch.clone, (None, "name", [3])) == (None, "name", [3])


@pytest.mark.parametrize("frozen", [False, True])
def test_images_are_drawn_for_worlds_that_learn(frozen):
    replay, generator = Replay(None, PICTURED, LAYOUT), np.random.default_rng(0)
    stream = replay.open_stream(recorded())
    for t in range(20):
        rows = random_rows(generator, PICTURED, [t == 0], [False], [0], [t], signals=2)
        deter, stoch = random_latents(generator, 1)
        replay.add([stream], rows, deter, stoch)
    work, _ = BatchSampler(replay, PICTURED, {}, (3, 5), frozen)()
    assert (work.batch.image is None) is frozen
    assert (work.latents is not None) is frozen
