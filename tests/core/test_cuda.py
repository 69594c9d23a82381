"""What only a CUDA device can show; passed over where there is none."""

import pytest
import torch
from small_agent import BOTH, random_batch, small_head, small_learner, small_world

from manyheads.learning.fast import accelerate
from manyheads.learning.optimizer import OptimizerSettings
from manyheads.learning.settings import TrainingSettings
from manyheads.world.captured import WARM_CALLS, map_tensors

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

UPDATES = WARM_CALLS + 3
SLOW = OptimizerSettings(rate=1e-4, warmup=0)


@pytest.fixture(autouse=True)
def _same_products_afterwards():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def learner_with_work(device, compile, precision="float32"):
    """A learner of two heads, and what its updates are given."""
    world = small_world(BOTH)
    heads = {name: small_head(world).to(device) for name in ("left", "right")}
    batch, labels, *masks = random_batch(world)
    accelerate(world.to(device), TrainingSettings(device=device, compile=compile, precision=precision))
    work = batch, dict.fromkeys(heads, labels), *masks
    return small_learner(world, heads, settings=SLOW), map_tensors(lambda x: x.to(device), work)


def numbers(device, compile, precision="float32"):
    learner, work = learner_with_work(device, compile, precision)
    return [learner.update(*work).metrics for _ in range(UPDATES)], learner.state()


def test_captured_updates_are_the_plain_ones():
    plain, before = numbers("cuda", compile=False)
    captured, after = numbers("cuda", compile=True)
    for one, other in zip(plain, captured, strict=True):
        assert one == pytest.approx(other, rel=2e-3, abs=2e-4)
    for name in before:
        if name.endswith("generator"):
            assert torch.equal(before[name], after[name]), "a replayed graph draws what plain calls draw"


def test_the_device_computes_what_the_processor_does():
    found = []
    for device in ("cpu", "cuda"):
        learner, work = learner_with_work(device, compile=False)
        world, (batch, _, *masks) = learner.world, work
        noise = torch.full((*batch.shape, world.settings.groups), 0.4, device=device)
        start = world.initial(batch.shape[0])
        observed = world.observe(batch.image, batch.vector, batch.previous_action, batch.first, start, noise)
        losses = world.losses(observed, batch.image, batch.vector, *masks)
        found.append({name: loss.mean().item() for name, loss in losses.items()})
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_captured_bfloat16_learns():
    records, _ = numbers("cuda", compile=True, precision="bfloat16")
    assert records[-1]["world/image"] < records[0]["world/image"]
    assert all(number == number for record in records for number in record.values())
