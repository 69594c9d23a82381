"""A first update is compiled before it runs."""

import threading
from functools import partial

import pytest
import torch
from small_agent import VECTOR, random_batch, small_head, small_learner, small_world
from torch._dynamo.utils import counters

from manyheads.execution.eager import Execution
from manyheads.execution.inductor.execution import InductorExecution
from manyheads.execution.inductor.warmup import WarmupExecution
from manyheads.execution.threads import num_threads
from manyheads.fused import REPLACEMENTS
from manyheads.learning.device import accelerate
from manyheads.learning.learner import Learner
from manyheads.settings import TrainingSettings
from manyheads.world.model import Latent

pytestmark = pytest.mark.usefixtures("no_compiler", "traced_once")


class Uncompiled(InductorExecution):
    """Notes what is compiled, and by how many cores it is called."""

    def __init__(self):
        super().__init__(replacements=REPLACEMENTS)
        self.noted = []

    def _generate_code(self, traced):
        self.noted.append((traced.name, any(x.requires_grad for x in traced.example_outputs), torch.get_num_threads()))
        return traced.forward, traced.backward


def warming_up(execution):
    return WarmupExecution(execution, execution.compiled_function)


def compile_ahead(learner, *arguments):
    learner.world.execution.compile_ahead(partial(learner._dry_run, Learner._update, *arguments))


def learner_and_arguments(heads=("left", "right"), **settings):
    world = small_world(VECTOR)
    heads = {name: small_head(world, **settings) for name in heads}
    batch, labels, *masks = random_batch(world)
    return small_learner(world, heads), (batch, dict.fromkeys(heads, labels), *masks)


def test_each_region_of_an_update_is_compiled_once_as_it_will_be_called():
    learner, arguments = learner_and_arguments(heads=("only",))
    compiler = Uncompiled()
    learner.world.execution = warming_up(compiler)
    with num_threads(4):
        learner._update(*arguments)
    assert [name for name, graded, _ in compiler.noted if graded] == [
        "Encoder.forward",
        "scaled_world_losses",
        "ActorCritic.replay_losses",
    ]
    imagined, back = ["step_into", "predict"], ["steps_backward", "maps_backward"]
    parallel = ["policy_with_gradients", "value_with_gradients"]
    others = [name for name, graded, _ in compiler.noted if not graded]
    assert others == ["steps", *imagined, *back, *parallel, "laprop", "laprop"]
    assert {name for name, _, cores in compiler.noted if cores == 2} == {*back, *parallel}


def test_a_dry_run_of_heads_of_a_frozen_world_uses_zeros_that_lead_back():
    learner, (batch, labels, *_) = learner_and_arguments(heads=("only",))
    learner.world.requires_grad_(False)
    learner.world.execution = warming_up(compiler := Uncompiled())
    latents = Latent(*(torch.zeros(*batch.shape, *part.shape[1:]) for part in learner.world.initial(1)))
    metrics = learner._update_heads(batch, latents, labels).metrics
    assert metrics["only/reward"] == metrics["only/gradient_norm"] == 0
    assert [name for name, graded, _ in compiler.noted if graded] == ["ActorCritic.replay_losses"]


@pytest.mark.filterwarnings("error:The first update")
@pytest.mark.parametrize("settings", [{}, {"policy_gradient": "dynamics"}, {"gradients_into_world": False}])
def test_a_dry_run_leaves_a_learner_as_it_was(settings):
    (tried, arguments), (other, same) = (learner_and_arguments(["only"], **settings) for _ in range(2))
    tried.world.execution = compiler = Uncompiled()
    torch.manual_seed(5)
    with num_threads(2):
        compile_ahead(tried, *arguments)
    assert torch.initial_seed() == 5
    assert compiler.noted
    for learner in (tried, other):
        learner.world.execution = Execution()
    for _ in range(2):
        assert tried.update(*arguments).metrics == other.update(*same).metrics


def test_an_update_is_made_also_where_it_cannot_be_tried(monkeypatch):
    learner, arguments = learner_and_arguments()
    learner.world.execution = Uncompiled()
    learner.heads["left"].lock = threading.Lock()
    with num_threads(2), pytest.warns(UserWarning, match=r"could not be tried .* longer: TypeError: cannot pickle"):
        learner.update(*arguments)


@pytest.mark.parametrize("cores", [1, 2])
def test_without_another_core_nothing_is_compiled_ahead(cores):
    learner, arguments = learner_and_arguments()
    learner.world.execution = compiler = Uncompiled()
    with num_threads(cores):
        compile_ahead(learner, *arguments)
    assert bool(compiler.noted) == (cores > 1)


@pytest.mark.slow
def test_an_update_runs_what_was_compiled_ahead(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    learner, arguments = learner_and_arguments()
    accelerate(learner.world, TrainingSettings())
    with num_threads(2):
        compile_ahead(learner, *arguments)
        before = counters["inductor"]["fxgraph_cache_miss"], counters["stats"]["unique_graphs"]
        assert min(before) > 0
        for _ in range(2):
            learner.update(*arguments)
    after = counters["inductor"]["fxgraph_cache_miss"], counters["stats"]["unique_graphs"]
    assert after == before
    assert counters["inductor"]["fxgraph_cache_hit"] == 0
