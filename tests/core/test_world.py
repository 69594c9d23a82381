"""Worlds: what they accept, what acting and observing have in common, their variants."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from small_agent import BOTH, VECTOR, Uncompiled, random_batch, small_head, small_learner, small_world

from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.execution.eager import Execution
from manyheads.heads.predictors import TwoHotHead
from manyheads.learning.optimizer import LaProp
from manyheads.settings import OptimizerSettings
from manyheads.world.distributions import sample_one_hot, symexp, symlog, two_bins, two_hot_bins, two_hot_loss
from manyheads.world.harmony import Harmony
from manyheads.world.latent_distribution import Categorical, normal_kl
from manyheads.world.model import World
from manyheads.world.networks import Convolution, DoublingConvolution, Layer, max_pool
from manyheads.world.rssm import Latent
from manyheads.world.sizes import SIZES, WorldSettings


@settings(max_examples=50, deadline=None)
@given(st.floats(-1e8, 1e8, width=32))
def test_symexp_undoes_symlog(x):
    x = torch.tensor(x)
    torch.testing.assert_close(symexp(symlog(x)), x, rtol=1e-5, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-6, 6), min_size=2, max_size=6), st.floats(0, 1, exclude_max=True))
def test_inverse_cdf_picks_the_interval_that_holds_the_number(logits, uniform):
    probs = torch.tensor(logits).softmax(-1)
    sample = sample_one_hot(probs, torch.tensor(uniform))
    chosen = int(sample.argmax())
    assert sample.sum() == 1
    assert probs[:chosen].sum() - 1e-6 <= uniform <= probs[: chosen + 1].sum() + 1e-6


@settings(max_examples=50, deadline=None)
@given(st.floats(-1e7, 1e7, width=32))
def test_two_hot_loss_is_least_at_its_own_target(y):
    bins = two_hot_bins()
    target = torch.tensor(y)
    k = int((bins <= target).sum()) - 1
    weights = torch.zeros(255)
    share = (target - bins[k]) / (bins[k + 1] - bins[k])
    weights[k], weights[k + 1] = 1 - share, share
    best = two_hot_loss(weights.clamp(min=1e-30).log(), two_bins(target, bins))
    assert best <= two_hot_loss(torch.zeros(255), two_bins(target, bins))
    entropy = -(weights.clamp(min=1e-30).log() * weights).sum()
    torch.testing.assert_close(best, entropy, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("classes", [2, 4, 16, 17])
def test_drawing_many_states_is_sampling_each(classes, dtype):
    torch.manual_seed(0)
    kind = Categorical(WorldSettings(groups=6, classes=classes))
    raw, noise = 3 * torch.randn(500, 6, classes), torch.rand(500, 6)
    drawn = kind.draw(raw, noise, dtype)
    assert drawn.dtype is dtype
    assert torch.equal(drawn.float(), kind.sample(raw, noise))


def test_expected_values_are_the_means_of_logits():
    torch.manual_seed(0)
    head = TwoHotHead(8, 16, layers=2)
    torch.nn.init.normal_(head.out.weight)
    feature = torch.randn(40, 8)
    mean = head.mean(head(feature))
    torch.testing.assert_close(
        head.expected(head.layers(feature)), mean, rtol=1e-5, atol=1e-5 * mean.detach().abs().max().item()
    )


def test_short_copies_follow_their_module():
    module, execution = Layer(4, 8), Uncompiled(torch.bfloat16)
    first = execution.compute_copy(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    again = execution.compute_copy(module)
    assert again is first
    assert again.linear.weight.dtype is torch.bfloat16
    torch.testing.assert_close(again.linear.weight, module.linear.weight.bfloat16())
    torch.testing.assert_close(again.norm.weight, module.norm.weight)
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_acting_step_by_step_is_observing():
    world = small_world()
    batch, *_ = random_batch(world)
    noise, latent = world.draw_noise(4, 6), world.initial(4)
    observed = world.observe(batch.image, batch.vector, batch.previous_action, batch.is_first, latent, noise)
    for t in range(6):
        rows = (batch.image[:, t], batch.vector[:, t], batch.previous_action[:, t], batch.is_first[:, t])
        latent = world.step(*rows, latent, noise[:, t])
        torch.testing.assert_close(latent.deter, observed.latents.deter[:, t], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(latent.stoch, observed.latents.stoch[:, t], rtol=1e-4, atol=1e-5)


def test_decode_gives_images_and_natural_units():
    world = small_world()
    image, vector = world.decode(world.initial(3).map(lambda x: x[:, None].expand(3, 2, *x.shape[1:])))
    assert image.shape == (3, 2, 8, 8, 3)
    assert image.dtype == torch.uint8
    assert vector.shape == (3, 2, 2)
    world = small_world(VECTOR)
    with torch.no_grad():
        world.decoder.vector.out.weight.zero_()
        world.decoder.vector.out.bias.copy_(symlog(torch.tensor([200.0, -3.0])))
    image, vector = world.decode(world.initial(1))
    assert image is None
    torch.testing.assert_close(vector, torch.tensor([[200.0, -3.0]]))
    image, vector = small_world(SpaceLayout(image=(8, 8, 3), continuous=("u",))).decode(world.initial(2))
    assert vector.shape == (2, 0)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (SpaceLayout(continuous=("u",)), "something to observe"),
        (SpaceLayout(vector=("p",)), "needs actions"),
        (SpaceLayout(image=(30, 32, 3), continuous=("u",)), "multiples of 4"),
    ],
)
def test_interfaces_that_do_not_fit(places, message):
    with pytest.raises(ManyheadsError, match=message):
        small_world(places)


def test_a_depth_that_does_not_fit_images():
    with pytest.raises(ManyheadsError, match="multiple of 8"):
        small_world(BOTH, depth=3)


def test_an_image_that_was_not_given():
    world = small_world()
    with pytest.raises(ManyheadsError, match="no image was given"):
        world.encoder(None, torch.zeros(1, 2))


@pytest.mark.parametrize(
    "wrong", [{"size": "2m"}, {"deter": 100, "blocks": 8}, {"kernel": 4}, {"deters": 8}, {"classes": 1}]
)
def test_settings_that_are_refused(wrong):
    with pytest.raises(ValidationError):
        WorldSettings(**wrong)


@pytest.mark.parametrize("size", SIZES)
def test_presets_can_be_changed_number_by_number_and_written_out(size):
    settings = WorldSettings(size=size, units=72)
    assert settings.units == 72
    assert settings.deter == SIZES[size]["deter"]
    assert WorldSettings(**settings.model_dump()) == settings
    with torch.device("meta"):
        World(SpaceLayout(image=(64, 64, 3), discrete=(("m", 3),)), settings)


# --- variants -------------------------------------------------------------------------------------

GAUSSIAN = {"latent": "gaussian", "groups": 8, "classes": 1, "free_nats": 0.0}


def test_gaussian_presets_keep_the_size_of_the_latent():
    settings = WorldSettings(size="1m", latent="gaussian")
    assert (settings.groups, settings.classes) == (128, 1)
    assert settings.feature_size == WorldSettings(size="1m").feature_size
    assert WorldSettings(size="12m", latent="gaussian").groups == 256


def test_gaussian_divergence_is_that_of_the_distributions():
    p = torch.distributions.Normal(torch.randn(9), torch.rand(9) + 0.1)
    q = torch.distributions.Normal(torch.randn(9), torch.rand(9) + 0.1)
    expected = torch.distributions.kl_divergence(p, q)
    torch.testing.assert_close(normal_kl(p.mean, p.stddev, q.mean, q.stddev), expected)


@pytest.mark.parametrize("prior", ["learned", "standard"])
def test_a_gaussian_world_learns(prior):
    world = small_world(VECTOR, latent_prior=prior, **GAUSSIAN)
    learner = small_learner(world, {"task": small_head(world)})
    batch, labels, *masks = random_batch(world)
    metrics = [learner.update(batch, {"task": labels}, *masks).metrics for _ in range(40)]
    assert metrics[-1]["world/vector"] < 0.5 * metrics[0]["world/vector"]
    assert metrics[-1]["world/dyn"] < 20


def test_the_standard_prior_pulls_the_posterior_and_not_the_prior_network():
    world = small_world(VECTOR, latent_prior="standard", **GAUSSIAN)
    raw = torch.randn(2, 3, 8, 2)
    raw[..., 1] = torch.log(torch.expm1(torch.tensor(0.9)))
    dyn, rep = world.rssm.distribution.losses(raw, raw)
    torch.testing.assert_close(dyn, torch.zeros(2, 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(rep, 0.5 * raw[..., 0].square().sum(-1), rtol=1e-5, atol=1e-5)


def test_absolute_reconstruction_error():
    squared, absolute = small_world(), small_world(reconstruction="absolute")
    batch, _, *masks = random_batch(squared)
    noise = squared.draw_noise(4, 6)
    sums = []
    for world in (squared, absolute):
        start = world.initial(4)
        observed = world.observe(batch.image, batch.vector, batch.previous_action, batch.is_first, start, noise)
        sums.append((world.losses(observed, batch.image, batch.vector, *masks), observed))
    latents = Latent(*(x.detach() for x in sums[0][1].latents))
    error = squared.decoder.vector(latents) - symlog(batch.vector)
    torch.testing.assert_close(sums[0][0]["vector"], error.square().sum(-1))
    torch.testing.assert_close(sums[1][0]["vector"], error.abs().sum(-1))
    assert (sums[1][0]["image"] > sums[0][0]["image"]).all()


@pytest.mark.parametrize("s", [-2.0, 0.0, 0.7])
def test_a_harmonised_loss_and_its_gradient(s):
    harmony = Harmony(["dyn"])
    torch.nn.init.constant_(harmony.s["dyn"], s)
    loss = torch.tensor([0.5, 40.0], requires_grad=True)
    counted = harmony("dyn", loss)
    torch.testing.assert_close(counted, loss / math.exp(s) + math.log(1 + math.exp(s)))
    counted.sum().backward()
    torch.testing.assert_close(loss.grad, torch.full((2,), math.exp(-s)))
    sigmoid = 1 / (1 + math.exp(-s))
    torch.testing.assert_close(harmony.s["dyn"].grad, torch.tensor(2 * sigmoid - 40.5 / math.exp(s)))
    torch.testing.assert_close(harmony.weights(), {"dyn": torch.tensor(math.exp(-s))})


@pytest.mark.parametrize("loss", [0.02, 1.0, 50.0])
def test_a_learned_weight_settles_where_its_gradient_is_zero(loss):
    harmony = Harmony(["dyn"])
    optimizer = LaProp(dict(harmony.named_parameters()), OptimizerSettings(lr=1e-2, warmup=0))
    for _ in range(1000):
        harmony("dyn", torch.tensor(loss)).backward()
        optimizer.step(optimizer.gradient_norms(), Execution())
    s = harmony.s["dyn"].item()
    assert s == pytest.approx(math.log((loss + math.sqrt(loss**2 + 4 * loss)) / 2), abs=0.02)
    assert loss / math.exp(s) == pytest.approx(1 / (1 + math.exp(-s)), rel=0.04)


def test_only_harmonised_worlds_have_weights_to_learn():
    fixed, harmonised = (dict(small_world(loss_weights=kind).named_parameters()) for kind in ("fixed", "harmonised"))
    assert fixed.keys() == dict(small_world().named_parameters()).keys()
    assert harmonised.keys() - fixed.keys() == {f"harmony.s.{name}" for name in ("dyn", "rep", "vector", "image")}
    assert all(torch.equal(tensor, harmonised[name]) for name, tensor in fixed.items())
    assert [*small_world(VECTOR, loss_weights="harmonised").harmony.s] == ["dyn", "rep", "vector"]


def test_pooling_shares_the_gradient_of_equal_pixels():
    x = torch.tensor([[1.0, 5.0, 2.0, 2.0], [4.0, 3.0, 2.0, 2.0]]).view(1, 2, 4, 1).requires_grad_()
    pooled = max_pool(x)
    pooled.sum().backward()
    assert pooled.flatten().tolist() == [5, 2]
    assert x.grad.view(2, 4).tolist() == [[0, 1, 0.25, 0.25], [0, 0, 0.25, 0.25]]


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_convolving_doubled_images_before_doubling(kernel):
    torch.manual_seed(0)
    conv, plain = DoublingConvolution(3, 2, kernel).double(), Convolution(3, 2, kernel).double()
    torch.nn.init.normal_(conv.bias)
    plain.load_state_dict(conv.state_dict())
    x = torch.randn(2, 4, 6, 3, dtype=torch.float64)
    doubled = x.repeat_interleave(2, 1).repeat_interleave(2, 2)
    torch.testing.assert_close(conv(x), plain(doubled))
