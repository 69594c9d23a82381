"""A first update is compiled by two processes."""

import subprocess
import sys
import threading

import cloudpickle
import pytest
import torch
from small_agent import VECTOR, random_batch, small_head, small_learner, small_world
from torch._dynamo.utils import counters

from manyheads.learning import ahead
from manyheads.learning.ahead import Rehearsal, compiling_ahead
from manyheads.learning.fast import accelerate
from manyheads.learning.settings import TrainingSettings
from manyheads.world.execution import Compiled, Execution
from manyheads.world.model import Latent


class Uncompiled(Rehearsal):
    """Notes what would be compiled."""

    def __init__(self, like):
        super().__init__(like)
        self.compiled_regions = []
        self.cores = {}

    def compile_region(self, function):
        def call(*args):
            self.compiled_regions.append((function.__qualname__, torch.is_grad_enabled()))
            self.cores[function.__qualname__] = torch.get_num_threads()
            return function(*args)

        return call


def learner_and_arguments(heads=("left", "right")):
    world = small_world(VECTOR)
    heads = {name: small_head(world) for name in heads}
    batch, labels, *masks = random_batch(world)
    return small_learner(world, heads), (batch, dict.fromkeys(heads, labels), *masks)


def test_each_region_of_an_update_is_compiled_the_last_ones_first():
    learner, arguments = learner_and_arguments(heads=("only",))
    learner.world.execution = rehearsal = Uncompiled(Compiled())
    learner.update(*arguments)
    rehearsal.compile(cores=4, graded=True)
    rehearsal.compile(cores=4, graded=False)
    with_gradients = [name for name, graded in rehearsal.compiled_regions if graded]
    assert with_gradients == ["ActorCritic.learn_real", "World._losses"]
    others = [name for name, graded in rehearsal.compiled_regions if not graded]
    imagined = ["value_with_gradients", "policy_with_gradients", "foresee", "step_into"]
    of_optimisers = ["laprop", "laprop"]
    assert others == [*of_optimisers, *imagined[:2], "maps_back", "steps_back", *imagined[2:], "steps"]
    beside = {name for name, cores in rehearsal.cores.items() if cores == 2}
    assert beside == {"value_with_gradients", "policy_with_gradients", "steps_back", "maps_back"}


def test_heads_of_a_frozen_world_are_rehearsed_with_zeros_that_lead_back():
    learner, (batch, labels, *_) = learner_and_arguments(heads=("only",))
    learner.world.requires_grad_(False)
    learner.world.execution = rehearsal = Uncompiled(Compiled())
    latents = Latent(*(torch.zeros(*batch.shape, *part.shape[1:]) for part in learner.world.initial(1)))
    metrics = learner.update_heads(latents, batch.last, labels).metrics
    assert metrics["only/reward"] == metrics["only/gradient_norm"] == 0
    rehearsal.compile(cores=4, graded=True)
    rehearsal.compile(cores=4, graded=False)
    assert rehearsal.compiled_regions[0] == ("ActorCritic.learn_real", True)


def test_a_learner_goes_to_another_process_as_it_is():
    learner, arguments = learner_and_arguments()
    learner.world.execution = Compiled(torch.bfloat16, {"cpp_wrapper": True})
    copied, same = cloudpickle.loads(cloudpickle.dumps((learner, arguments)))
    assert copied.world.execution.dtype is torch.bfloat16
    assert copied.world.execution.options == {"cpp_wrapper": True}
    for each in (learner, copied):
        each.world.execution = Execution()
    assert copied.update(*same).metrics == learner.update(*arguments).metrics


@pytest.mark.parametrize("cached", [True, False], ids=["something cached", "nothing cached"])
@pytest.mark.parametrize("missing", [False, True])
def test_a_second_process_starts_only_where_something_is_not_in_the_cache(missing, cached, tmp_path, monkeypatch):
    learner, arguments = learner_and_arguments()
    learner.world.execution = Compiled()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(ahead, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(ahead, "LOOK_EVERY", 0.001)
    if cached:
        (tmp_path / "region").touch()
    started = []

    class Process(subprocess.Popen):
        def __init__(self, command, **options):
            super().__init__([sys.executable, "-c", "import sys; sys.stdin.buffer.read(100)"], **options)
            started.append(command)

    monkeypatch.setattr(subprocess, "Popen", Process)
    with compiling_ahead(learner, "_update", *arguments):
        counters["inductor"]["fxgraph_cache_miss"] += missing
        starts = missing or not cached
        deadline = 1000 if starts else 20
        while not (started and learner.world.execution.elsewhere == missing) and deadline:
            deadline -= 1
            ahead.Event().wait(0.01)
        assert learner.world.execution.elsewhere == missing
    assert len(started) == starts


def test_a_head_that_cannot_go_to_another_process_is_compiled_here(monkeypatch):
    learner, arguments = learner_and_arguments()
    learner.world.execution = Compiled()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    learner.heads["left"].lock = threading.Lock()
    with compiling_ahead(learner, "_update", *arguments):
        assert not [thread for thread in threading.enumerate() if thread.name.endswith("(_watch)")]


@pytest.mark.slow
def test_an_update_finds_what_the_second_process_compiled(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    learner, arguments = learner_and_arguments()
    accelerate(learner.world, TrainingSettings())
    work = cloudpickle.dumps((learner, "_update", arguments, torch.get_num_threads()))
    subprocess.run([sys.executable, "-m", "manyheads.learning.ahead"], input=work, check=True)
    before = {**counters["inductor"]}
    learner.update(*arguments)
    both_ways_of_the_first = 2
    missed = counters["inductor"]["fxgraph_cache_miss"] - before.get("fxgraph_cache_miss", 0)
    assert missed == both_ways_of_the_first
    assert counters["inductor"]["fxgraph_cache_hit"] > before.get("fxgraph_cache_hit", 0)
