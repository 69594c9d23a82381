"""What a CUDA device computes and captures, against plain calls; without one, plain calls against themselves, so that
these tests keep up with what they call."""

from functools import partial

import numpy as np
import pytest
import torch
from small_agent import BOTH, random_batch, small_head, small_learner, small_world

from manyheads.execution.cuda_graph import WARM_CALLS
from manyheads.execution.trees import map_tensors
from manyheads.heads.policy import VectorPolicy
from manyheads.learning.device import accelerate
from manyheads.settings import OptimizerSettings, TrainingSettings

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"

UPDATES = WARM_CALLS + 3
SLOW = OptimizerSettings(lr=1e-4, warmup=0)


def learner_with_work(device, compile, precision="float32", train_world=True):
    """A learner of two heads, and what its updates are given."""
    world = small_world(BOTH, vectors="standardised")
    heads = {name: small_head(world).to(device) for name in ("left", "right")}
    batch, labels, *masks = random_batch(world)
    accelerate(world.to(device), TrainingSettings(device=device, compile=compile and CUDA, precision=precision))
    work = batch, dict.fromkeys(heads, labels), *masks
    learner = small_learner(world, heads, settings=SLOW, train_world=train_world)
    return learner, map_tensors(lambda x: x.to(device), work)


def learn(device, compile, precision="float32"):
    """Metrics of each update; the last one's latents; the learner."""
    learner, work = learner_with_work(device, compile, precision)
    updates = [(update.metrics, update.latents) for update in (learner.update(*work) for _ in range(UPDATES))]
    return [metrics for metrics, _ in updates], updates[-1][1], learner


def test_captured_updates_are_the_plain_ones():
    (plain, latents, one), (captured, others, other) = learn(DEVICE, compile=False), learn(DEVICE, compile=True)
    for expected, found in zip(plain, captured, strict=True):
        assert found == pytest.approx(expected, rel=2e-3, abs=2e-4)
    torch.testing.assert_close(others, latents, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(other.world.state_dict(), one.world.state_dict())
    for name, state in one.state_dict().items():
        if name.endswith("generator"):
            assert torch.equal(state, other.state_dict()[name]), "a replayed graph draws what plain calls draw"


def test_captured_updates_of_heads_alone_are_the_plain_ones():
    found = []
    for compile in (False, True):
        learner, (batch, labels, *_) = learner_with_work(DEVICE, compile, train_world=False)
        rows = learner.world.initial(batch.is_last.numel())
        latents = rows.map(partial(torch.Tensor.unflatten, dim=0, sizes=batch.shape))
        found.append([learner.update_heads(batch, latents, labels).metrics for _ in range(UPDATES)])
    for expected, captured in zip(*found, strict=True):
        assert captured == pytest.approx(expected, rel=2e-3, abs=2e-4)


def test_captured_acting_is_the_plain_one():
    found = []
    for compile in (False, True):
        learner, _ = learner_with_work(DEVICE, compile)
        policies = VectorPolicy(learner.world, learner.heads, ["left", None, "right", "left"], [BOTH] * 4, seed=0)
        random, acted = np.random.default_rng(0), []
        for step in range(UPDATES):
            image = random.integers(0, 256, (4, *BOTH.image), np.uint8)
            vector = random.standard_normal((4, len(BOTH.vector))).astype(np.float32)
            acted.append(policies.act(image, vector, np.array([step in (0, 4)] * 4)))
        found.append((acted, policies.state_dict()))
    for plain, captured in zip(found[0][0], found[1][0], strict=True):
        for one, other in zip(plain, captured, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5)
    assert torch.equal(found[0][1]["generator"], found[1][1]["generator"])


def test_the_device_computes_what_the_processor_does():
    found = []
    for device in ("cpu", DEVICE):
        learner, work = learner_with_work(device, compile=False)
        world, (batch, _, *masks) = learner.world, work
        noise = torch.full((*batch.shape, world.settings.groups), 0.4, device=device)
        start = world.initial(batch.shape[0])
        observed = world.observe(batch.image, batch.vector, batch.previous_action, batch.is_first, start, noise)
        losses = world.losses(observed, batch.image, batch.vector, *masks)
        found.append({name: loss.mean().item() for name, loss in losses.items()})
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_captured_bfloat16_is_near_float32():
    (exact, *_), (short, *_) = learn(DEVICE, compile=True), learn(DEVICE, compile=True, precision="bfloat16")
    for name in ("world/image", "world/vector", "left/reward", "left/value"):
        assert short[0][name] == pytest.approx(exact[0][name], rel=0.05)
    assert short[-1]["world/image"] < short[0]["world/image"]
    assert all(number == number for record in short for number in record.values())
