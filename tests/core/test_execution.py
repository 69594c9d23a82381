"""What an execution promises besides the numbers."""

import threading

import pytest
import torch
from small_agent import VECTOR, Uncompiled, random_batch, small_head, small_learner, small_world

from manyheads.execution.eager import Execution
from manyheads.execution.threads import num_threads
from manyheads.heads.actor_critic import ActorCritic


@pytest.fixture
def settled():
    """Past the first work under a key, which compiles."""
    execution = Uncompiled()
    with execution.warmup("work") as compiles:
        assert compiles
    with num_threads(4), execution.warmup("work") as compiles:
        assert not compiles
        yield execution


def test_what_does_not_wait_for_each_other_runs_in_two_threads(settled):
    here, ran, both = threading.get_ident(), [], threading.Barrier(2, timeout=10)

    def note(name, meets=False):
        def function():
            if meets:
                both.wait()
            ran.append((name, threading.get_ident() == here, torch.get_num_threads()))
            return name

        return function

    works = [note("first", meets=True), note("second", meets=True), note("third")]
    assert settled.run_parallel(works) == ["first", "second", "third"]
    assert ("first", True, 2) in ran
    assert ("second", False, 2) in ran
    assert sorted(name for name, *_ in ran) == ["first", "second", "third"]
    assert torch.get_num_threads() == 4


def test_nothing_runs_on_where_one_of_them_fails(settled):
    ended, started = [], threading.Event()

    def fails():
        assert started.wait(10)
        raise ValueError("first")

    def other():
        started.set()
        threading.Event().wait(0.05)
        ended.append("other")

    with pytest.raises(ValueError, match="first"):
        settled.run_parallel([fails, other])
    assert ended == ["other"]
    assert torch.get_num_threads() == 4
    with pytest.raises(ZeroDivisionError):
        settled.run_parallel([lambda: None, lambda: 1 / 0])


def test_the_other_thread_traces_what_this_one_does(settled):
    def traces():
        return torch.is_grad_enabled()

    assert settled.run_parallel([traces, traces]) == [True, True]
    with torch.no_grad():
        assert settled.run_parallel([traces, traces]) == [False, False]


def test_updates_in_two_threads_learn_the_same():
    worlds = []
    for execution, cores in ((Execution(), 1), (Uncompiled(), 1), (Uncompiled(), 2)):
        world = small_world(VECTOR)
        heads = {name: small_head(world) for name in ("left", "right")}
        world.execution = execution
        learner = small_learner(world, heads)
        batch, labels, *masks = random_batch(world)
        with num_threads(cores):
            for _ in range(3):
                numbers = learner.update(batch, dict.fromkeys(heads, labels), *masks).metrics
        worlds.append((numbers, {**world.state_dict(), **heads["left"].state_dict(prefix="left.")}))
    (plain, weights), *others = worlds
    for found, now in others:
        assert found == pytest.approx(plain, rel=1e-4, abs=1e-5)
        for name, weight in weights.items():
            torch.testing.assert_close(now[name], weight, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(("settings", "expected"), [({}, 2), ({"policy_gradient": "dynamics"}, 1)])
def test_losses_of_heads_that_touch_the_world_are_found_one_after_the_other(monkeypatch, settings, expected):
    world = small_world(VECTOR)
    heads = {name: small_head(world, **settings) for name in ("left", "right")}
    world.execution = Uncompiled()
    learner, found_in = small_learner(world, heads), set()
    losses = ActorCritic.losses

    def noted(head, *args):
        both.wait() if expected == 2 and ready else None
        found_in.add(threading.get_ident())
        return losses(head, *args)

    batch, labels, *masks = random_batch(world)
    both, ready = threading.Barrier(2, timeout=10), False
    monkeypatch.setattr(ActorCritic, "losses", noted)
    with num_threads(2):
        learner.update(batch, dict.fromkeys(heads, labels), *masks)
        ready = True
        learner.update(batch, dict.fromkeys(heads, labels), *masks)
    assert len(found_in) == expected


def test_what_is_not_known_to_be_compiled_runs_in_this_thread():
    execution = Uncompiled()
    for _ in range(2):
        with execution.warmup("work"):
            pass
    with num_threads(4):
        assert execution.run_parallel([threading.get_ident] * 3) == [threading.get_ident()] * 3
