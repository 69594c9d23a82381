"""The fast path gives what the plain path gives: states, losses and gradients."""

import gc
from collections import Counter

import pytest
import torch
from small_agent import BOTH, VECTOR, TracedOnly, Uncompiled, random_batch, small_head, small_learner, small_world

from manyheads.environment.layout import SpaceLayout
from manyheads.execution.eager import Execution
from manyheads.learning.device import accelerate
from manyheads.settings import TrainingSettings
from manyheads.world.rssm import Latent, observe_sequence

CHOICE = SpaceLayout(vector=("p", "q"), discrete=(("m", 3),))
pytestmark = pytest.mark.usefixtures("traced_once", "no_compiler")
PLACES = pytest.mark.parametrize("places", [VECTOR, BOTH], ids=["vector", "image and choices"])


class Agent:
    """A small world with two heads that predict something, and a batch; always the same numbers."""

    def __init__(self, execution, places=VECTOR, fresh=False, world=None, **settings):
        self.world = small_world(places, **(world or {}))
        self.heads = {name: small_head(self.world, **settings) for name in ("left", "right")}
        self.world.execution = execution
        self.learner = small_learner(self.world, self.heads)
        batch, labels, *masks = random_batch(self.world)
        self.arguments = batch, dict.fromkeys(self.heads, labels), *masks
        for head in () if fresh else self.heads.values():
            for two_hot in (head.reward, head.critic, head.slow_critic):
                torch.nn.init.normal_(two_hot.out.weight, 0, 0.1)
                two_hot.out.bias.data = -0.3 * (torch.arange(255) - 127.0).abs()  # the outer bins magnify rounding

    def losses(self):
        return self.learner.losses(*self.arguments)[0]

    def gradients(self):
        torch.stack([*self.losses().values()]).sum().backward()
        modules = {"world": self.world, **self.heads}
        named = {f"{of}.{name}": p.grad for of, module in modules.items() for name, p in module.named_parameters()}
        return {name: gradient for name, gradient in named.items() if gradient is not None}


def compare(plain, other, tolerance=1e-5):
    """Every loss, and every gradient by its tensor's norm."""
    expected, found = plain.losses(), other.losses()
    assert found.keys() == expected.keys()
    for name, loss in expected.items():
        assert abs(found[name] - loss) <= tolerance * max(1, abs(loss)), name
    expected, found = plain.gradients(), other.gradients()
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= 10 * tolerance * (gradient.norm() + tolerance), name


def scanned(execution, rows=7, **settings):
    """In float64: states, and gradients of a random function of them by the weights, tokens and start."""
    world, random = small_world(**settings).double(), torch.Generator().manual_seed(0)
    b, t, rssm = 3, rows, world.rssm
    first = torch.rand(b, t, generator=random) < 0.3

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    tokens = draw(b, t, world.encoder.size).requires_grad_()
    start = Latent(draw(b, world.settings.deter), draw(b, world.settings.groups, world.settings.classes))
    noise = torch.rand(b, t, world.settings.groups, generator=random, dtype=torch.float64)
    arguments = start, tokens, 2 * draw(b, t, world.interface.action_size), first, noise
    observed = execution.implementation(observe_sequence)(rssm, execution, *arguments)
    states = [*observed.latents, observed.posterior, observed.prior]
    torch.stack([(state * draw(*state.shape)).sum() for state in states]).sum().backward()
    return states, {"tokens": tokens.grad, **{name: p.grad for name, p in rssm.named_parameters()}}


@pytest.mark.parametrize(
    "settings",
    [{}, {"latent": "gaussian", "classes": 1}, {"rows": 12}, {"rows": 11}],
    ids=["categorical", "gaussian", "two groups of rows", "rows alone"],
)
def test_the_scan_and_its_gradients_in_float64(settings):
    states, gradients = scanned(Execution(torch.float64), **settings)
    fast_states, fast_gradients = scanned(Uncompiled(torch.float64), **settings)
    torch.testing.assert_close(fast_states, states, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(fast_gradients, gradients, rtol=1e-9, atol=1e-11)


def test_the_scan_in_shorter_products():
    class Short(Uncompiled):
        def for_rows(self, module):
            return self.compute_copy(module)

    states, gradients = scanned(Execution(torch.float64))
    short_states, short_gradients = scanned(Short(torch.bfloat16))
    for one, other in zip(states, short_states, strict=True):
        assert (one - other).norm() <= 0.015 * one.norm()
    for name, gradient in gradients.items():
        if gradient is not None:
            assert (gradient - short_gradients[name]).norm() <= 0.05 * gradient.norm(), name


def test_the_scan_without_gradients():
    with torch.no_grad():
        world = small_world()
        batch, *_ = random_batch(world)
        observe = (batch.image, batch.vector, batch.previous_action, batch.is_first, Latent(batch.deter, batch.stoch))
        noise = world.draw_noise(*batch.shape, generator=torch.Generator().manual_seed(0))
        plain = world.observe(*observe, noise)
        world.execution = Uncompiled()
        torch.testing.assert_close(world.observe(*observe, noise), plain)


@PLACES
def test_losses_and_gradients(places):
    compare(Agent(Execution(), places), Agent(Uncompiled(), places))


def test_losses_and_gradients_where_rows_are_not_a_heads_own():
    agents = Agent(Execution()), Agent(Uncompiled())
    for agent in agents:
        batch, labels, *masks = agent.arguments
        owned = torch.ones(batch.shape, dtype=torch.bool)
        owned[1, 3:] = owned[2] = False
        left = labels["left"]._replace(mask=owned)
        agent.arguments = batch, labels | {"left": left}, *masks
    compare(*agents)


@pytest.mark.parametrize(
    "settings",
    [{"world": {"latent": "gaussian", "classes": 1}}, {"gradients_into_world": False}, {"policy_gradient": "dynamics"}],
    ids=["gaussian", "no gradients into the world", "dynamics"],
)
def test_losses_and_gradients_of_variants(settings):
    compare(Agent(Execution(), **settings), Agent(Uncompiled(), **settings))


@pytest.mark.parametrize(
    ("places", "settings"), [(BOTH, {}), (VECTOR, {"policy_gradient": "dynamics"})], ids=["reinforce", "dynamics"]
)
def test_graphs_give_the_same(places, settings):
    compare(Agent(Execution(), places, **settings), Agent(TracedOnly(), places, **settings))


def near(plain, short):
    """Within 3% of a loss, or 0.03 where it is small; a few imagined latents become others, which moves returns."""
    expected, found = plain.losses(), short.losses()
    for name, loss in expected.items():
        share = 0.15 if "policy" in name else 0.03
        assert abs(found[name] - loss) <= share * max(1, abs(loss)), name


@PLACES
def test_bfloat16_is_near(places):
    near(Agent(Execution(), places), Agent(Uncompiled(torch.bfloat16), places))


@pytest.mark.parametrize(
    ("places", "settings"), [(BOTH, {}), (VECTOR, {"policy_gradient": "dynamics"})], ids=["reinforce", "dynamics"]
)
def test_every_region_is_one_graph_for_all_updates(places, settings):
    agent = Agent(execution := TracedOnly(), places, **settings)
    for _ in range(2):
        agent.learner.update(*agent.arguments)
    graphs = Counter(execution.traced)
    assert len(graphs) >= 8
    assert graphs.pop("laprop") == 2  # the world's, and one for heads, which are alike
    if settings:
        assert graphs.pop("imagine_policy_step") == 2  # from the start of a rollout no gradients are wanted
    assert set(graphs.values()) == {1}


def test_heads_alone_learn_the_same():
    results = []
    for agent in (Agent(Execution()), Agent(Uncompiled())):
        batch, labels, *_ = agent.arguments
        latents = agent.learner.losses(*agent.arguments)[1].detach()
        results.append(agent.learner.update_heads(batch, latents, labels).metrics)
    assert results[0] == pytest.approx(results[1], rel=1e-3, abs=1e-5)


def test_without_a_compiler_it_says_so_and_continues(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    world = small_world()
    accelerate(world, TrainingSettings())
    assert not world.execution.compiled
    assert "Install g++ or clang++" in capsys.readouterr().err


def test_settings_choose_the_path():
    world = small_world()
    accelerate(world, TrainingSettings(compile=False, precision="float32"))
    assert not world.execution.compiled
    assert world.execution.compute_dtype is torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("places", [VECTOR, CHOICE], ids=["vector", "one choice"])
def test_compiled_updates(places):
    """As users run it: the plain numbers, exactly 0 from fresh heads, and other graphs for other shapes."""
    quick = Agent(Execution(), places)
    accelerate(quick.world, TrainingSettings(precision="float32"))
    execution = quick.world.execution
    assert execution.compiled
    compare(Agent(Execution(), places), quick)
    fresh = Agent(execution, places, fresh=True).learner
    arguments = Agent(execution, places).arguments
    numbers = fresh.update(*arguments).metrics
    assert numbers["left/imagined_reward"] == numbers["left/imagined_value"] == 0
    for _ in range(3):
        numbers = fresh.update(*arguments).metrics
    assert numbers["left/imagined_reward"] != 0
    batch, labels, *masks = random_batch(quick.world, sequences=2, rows=5)
    shorter = batch, dict.fromkeys(quick.heads, labels), *masks
    plain, quick = Agent(Execution(), places), Agent(execution, places)
    plain.arguments = quick.arguments = shorter
    compare(plain, quick)


@pytest.mark.slow
def test_compiled_bfloat16_is_near():
    quick = Agent(Execution())
    accelerate(quick.world, TrainingSettings(precision="bfloat16"))
    assert quick.world.execution.compute_dtype is torch.bfloat16
    near(Agent(Execution()), quick)


def test_an_update_leaves_nothing_behind():
    agent = Agent(Uncompiled(), VECTOR)
    agent.learner.update(*agent.arguments)

    def tensors():
        return sum(issubclass(type(x), torch.Tensor) for x in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = tensors()
        agent.learner.update(*agent.arguments)
        assert tensors() == before
    finally:
        gc.enable()
