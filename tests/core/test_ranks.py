"""Learners that train together, in real processes: their update is that of one learner on the whole batch."""

import queue
from functools import partial

import pytest
import torch
import torch.multiprocessing as mp
from small_agent import VECTOR, Uncompiled, random_batch, small_head, small_learner, small_world

from manyheads.execution.ranks import ALONE, ProcessRanks
from manyheads.execution.trees import map_tensors
from manyheads.settings import OptimizerSettings

UPDATES = 3


def made(kind, ranks=ALONE):
    """A learner, and what it learns from: not all rows are the head's, in unequal numbers on the two halves."""
    world = small_world(VECTOR, loss_weights="harmonised")
    if kind == "fused":
        world.execution = Uncompiled()
    head = small_head(world, policy_gradient="dynamics" if kind == "dynamics" else "reinforce")
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():  # outputs that begin at 0 give gradients of rounding alone
        for parameter in (*world.parameters(), *head.parameters()):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
    batch, labels, *masks = random_batch(world, sequences=4)
    mask = labels.mask.clone()
    mask[0], mask[3, 2:] = False, False
    # with the usual eps, a gradient that is zero but for rounding moves its weight as far as any other
    settings = OptimizerSettings(lr=1e-3, warmup=0, eps=1e-7)
    return small_learner(world, {"task": head}, settings=settings, ranks=ranks), (
        batch,
        {"task": labels._replace(mask=mask)},
        *masks,
    )


def trained(learner, given, take=lambda x: x):
    """What a learner holds after some updates, and the metrics of the last one."""
    for _ in range(UPDATES):
        update = learner.update(*map_tensors(take, given))
    held = {f"world/{name}": x for name, x in learner.world.state_dict().items()}
    held |= {f"head/{name}": x for name, x in learner.heads["task"].state_dict().items()}
    return held | {f"learner/{name}": x for name, x in learner.state_dict().items()}, update.metrics


def train_rank(rank, kind, address, results):
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{address}", rank=rank, world_size=2)
    ranks = ProcessRanks()
    learner, given = made(kind, ranks)
    held, metrics = trained(learner, given, ranks.take)
    results.put((rank, {name: x.numpy() for name, x in held.items()}, metrics))
    dist.barrier()
    dist.destroy_process_group()


def run_two(target, *args):
    """What two processes put into a queue, by their ranks; a process that dies is a failure, not a wait."""
    context = mp.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=target, args=(rank, *args, results)) for rank in (0, 1)]
    for process in processes:
        process.start()
    found = {}
    while len(found) < 2:
        try:
            rank, *own = results.get(timeout=1)
            found[rank] = own
        except queue.Empty:
            assert all(process.exitcode in (None, 0) for process in processes)
    for process in processes:
        process.join(timeout=60)
    return found[0], found[1]


@pytest.mark.parametrize("kind", ["plain", "fused", "dynamics"])
def test_two_ranks_of_half_the_batch_make_the_update_of_one(kind, tmp_path):
    alone, metrics = trained(*made(kind))
    (first, its_metrics), (second, _) = run_two(train_rank, kind, str(tmp_path / "meet"))
    for name, expected in alone.items():
        assert (first[name] == second[name]).all(), name
        got = torch.from_numpy(first[name])
        near = 1e-3 if "momentum" in name else 1e-5  # of the order of 1, and counts times the rate of learning
        torch.testing.assert_close(got, expected, rtol=near, atol=near, msg=partial("{}: {}".format, name))
    moved = made(kind)[0].world.state_dict()
    assert any((alone[f"world/{name}"] - x).abs().max() > 5e-4 for name, x in moved.items())
    for name in ("task/policy", "task/value", "task/reward", "task/replay_value", "task/return_scale", "world/dyn"):
        assert its_metrics[name] == pytest.approx(metrics[name], rel=1e-5, abs=1e-5), name
