"""One test for each mistake that others made when they reimplemented DreamerV3."""

from shutil import which

import pytest
import torch
from small_agent import VECTOR, head_context, random_batch, small_head, small_learner, small_world
from torch.nn import functional as F

from manyheads.environment.layout import SpaceLayout
from manyheads.experience.batch import Batch
from manyheads.heads.actor_critic import ActorCritic, ActorCriticSettings
from manyheads.heads.imagination import ImaginedTrajectory, draw_noise
from manyheads.heads.returns import quantiles
from manyheads.learning.learner import HeadLabels, Learner
from manyheads.settings import OptimizerSettings
from manyheads.world.distributions import two_bins, two_hot_bins, two_hot_loss, two_hot_mean
from manyheads.world.model import World
from manyheads.world.networks import BlockLinear, Linear, RMSNorm
from manyheads.world.rssm import Latent, Observed
from manyheads.world.sizes import WorldSettings


@pytest.mark.parametrize("value", [0.3, -2.5, 1234.5, -7e5])
def test_two_hot_interpolates_in_raw_space(value):
    """The mean of the target distribution is the target itself; interpolated in symlog it lies above."""
    bins = two_hot_bins()
    logits = torch.zeros(255, requires_grad=True)
    two_hot_loss(logits, two_bins(torch.tensor(value), bins)).backward()
    weights = torch.full((255,), 1 / 255) - logits.grad
    near = weights.abs() > 1e-5
    assert near.sum() <= 2
    assert (weights * bins)[near].sum().item() == pytest.approx(value, rel=1e-4)


def test_predicted_reward_is_a_number_not_logits():
    head = small_head(small_world(VECTOR))
    reward, continues = head.predict(torch.randn(5, 4, 32))
    assert reward.shape == continues.shape == (5, 4)
    assert torch.equal(reward, torch.zeros(5, 4))


@pytest.mark.skipif(not (which("g++") or which("clang++")), reason="torch.compile needs a C++ compiler")
def test_zero_logits_predict_exactly_zero_when_compiled():
    bins = two_hot_bins()
    mean = torch.compile(two_hot_mean, fullgraph=True)
    for rows in (1, 7, 64):
        assert torch.equal(mean(torch.zeros(rows, 255), bins), torch.zeros(rows))


def _observed(world, spread):
    shape = (2, 3, world.settings.groups, world.settings.classes)
    posterior = (spread * torch.randn(shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    prior = torch.zeros(shape, requires_grad=True)
    return Observed(world.initial(6), posterior, prior)


def test_kl_is_summed_over_groups_before_the_free_nats():
    world = small_world(VECTOR, groups=16)
    observed = _observed(world, spread=0.7)
    p = observed.posterior.softmax(-1) * 0.99 + 0.0025
    per_group = (p * (p.log() + torch.tensor(4.0).log())).sum(-1)
    assert (per_group < 1).all()
    assert (per_group.sum(-1) > 1).all()
    torch.testing.assert_close(world.rssm.losses(observed)["dyn"], per_group.sum(-1))


def test_small_kl_trains_nothing():
    world = small_world(VECTOR)
    observed = _observed(world, spread=0.1)
    losses = world.rssm.losses(observed)
    assert torch.equal(losses["dyn"], torch.ones(2, 3))
    (losses["dyn"] + losses["rep"]).sum().backward()
    assert not observed.prior.grad.any()


def test_dyn_trains_the_prior_and_rep_the_posterior():
    world = small_world(VECTOR)
    for name, trained, still in (("dyn", "prior", "posterior"), ("rep", "posterior", "prior")):
        observed = _observed(world, spread=3)
        world.rssm.losses(observed)[name].sum().backward()
        assert getattr(observed, trained).grad.any()
        assert getattr(observed, still).grad is None


def test_reset_forgets_the_state_and_the_previous_action():
    world = small_world(VECTOR)
    batch, *_ = random_batch(world)
    noise = world.draw_noise(4, 6)
    first = torch.zeros(4, 6, dtype=torch.bool)
    first[:, 2] = True

    def deter(action, start):
        return world.observe(None, batch.vector, action, first, start, noise).latents.deter

    plain = deter(batch.previous_action, world.initial(4))
    changed = batch.previous_action.clone()
    changed[:, 2] += 1
    assert torch.equal(plain, deter(changed, world.initial(4)))
    other = deter(batch.previous_action, Latent(torch.ones(4, 16), torch.ones(4, 4, 4)))
    assert not torch.equal(plain[:, :2], other[:, :2])
    assert torch.equal(plain[:, 2:], other[:, 2:])


def test_the_previous_action_shapes_the_row_that_it_led_to():
    world = small_world(VECTOR)
    batch, *_ = random_batch(world)
    never = torch.zeros(4, 6, dtype=torch.bool)
    noise, changed = world.draw_noise(4, 6), batch.previous_action.clone()
    changed[:, 3] *= -1
    plain, other = (
        world.observe(None, batch.vector, action, never, world.initial(4), noise).latents.deter
        for action in (batch.previous_action, changed)
    )
    assert torch.equal(plain[:, :3], other[:, :3])
    assert (plain[:, 3] != other[:, 3]).any(-1).all()


def test_weights_are_drawn_by_the_full_fan_in_and_cut_at_two_deviations():
    torch.manual_seed(0)
    for weight in (BlockLinear(1024, 1024, blocks=8).weight, Linear(1024, 256).weight):
        deviation = 1024**-0.5
        assert weight.std().item() == pytest.approx(deviation, rel=0.02)
        assert weight.abs().max() <= 2 * 1.1368 * deviation
        assert weight.abs().max() > 1.9 * 1.1368 * deviation


def test_rms_norm_has_a_gain_and_no_shift():
    assert [name for name, _ in RMSNorm(8).named_parameters()] == ["weight"]


def _dream(reward, continues, head):
    n, steps = reward.shape
    feature = torch.randn(n, steps, 32, generator=torch.Generator().manual_seed(0))
    action = torch.randn(n, steps - 1, 2, generator=torch.Generator().manual_seed(1))
    everywhere = torch.ones(n, dtype=torch.bool)
    return head.trajectory_losses(ImaginedTrajectory(feature, action), reward, continues, everywhere)


def test_weights_include_the_start_states_own_continue():
    head = small_head(small_world(VECTOR))
    continues = torch.ones(2, 4)
    continues[0, 0] = 0
    dream = _dream(torch.ones(2, 4), continues, head)
    assert not dream.policy[0].any()
    assert not dream.value[0].any()
    assert dream.value[1].all()


def test_the_continue_head_governs_returns():
    head = small_head(small_world(VECTOR))
    reward = torch.tensor([[5.0, 1, 2, 4]]).expand(2, 4)
    continues = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 1]])
    returns = _dream(reward, continues, head).returns
    # the critic says 0 everywhere, so that only rewards and the trace of 0.95 are left
    torch.testing.assert_close(returns[0], torch.tensor([1 + 0.95 * (2 + 0.95 * 4), 2 + 0.95 * 4, 4]))
    torch.testing.assert_close(returns[1], torch.tensor([1 + 0.95 * 2, 2, 4]))


def test_the_scale_of_returns_is_really_active():
    head = small_head(small_world(VECTOR), return_rate=0.5)
    reward = torch.linspace(-100, 100, 50)[:, None].expand(50, 4)
    dream = _dream(reward, torch.ones(50, 4), head)
    head.after_update(dream.new_state)
    spread = dream.returns.quantile(0.95) - dream.returns.quantile(0.05)
    torch.testing.assert_close(head.return_scale.high - head.return_scale.low, 0.5 * spread)
    policy = head.actor(torch.randn(50, 4, 32, generator=torch.Generator().manual_seed(0))[:, :3])
    action = torch.randn(50, 3, 2, generator=torch.Generator().manual_seed(1))
    gain = policy.log_prob(action) * dream.returns / (0.5 * spread) + 3e-4 * policy.entropy()
    torch.testing.assert_close(dream.policy, -gain)


@pytest.mark.parametrize("shape", [(1,), (3,), (40, 15)])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_quantiles_are_those_of_what_is_valid(shape, share):
    torch.manual_seed(0)
    values, valid, levels = torch.randn(shape), torch.rand(shape) < share, torch.tensor([0.0, 0.05, 0.5, 0.95, 1.0])
    expected = torch.nanquantile(values.masked_fill(~valid, torch.nan), levels)
    torch.testing.assert_close(quantiles(values, valid, levels), expected, rtol=0, atol=0, equal_nan=True)


def test_small_returns_are_not_blown_up():
    head = small_head(small_world(VECTOR))
    dream = _dream(torch.full((8, 4), 0.01), torch.ones(8, 4), head)
    assert dream.metrics["return_scale"] == 1


def test_the_scale_follows_every_update_of_the_learner():
    world = small_world(VECTOR)
    head = small_head(world)
    batch, labels, *masks = random_batch(world)
    learner = small_learner(world, {"task": head})
    with torch.no_grad():
        head.reward.out.bias[200] += 20
    learner.update(batch, {"task": labels}, *masks)
    assert head.return_scale.high > 1


# --- three off-by-ones, seen through behaviour ----------------------------------------------------

DISCOUNT = 0.5


def _alternation(sequences, rows, seed):
    """Three states. In A, action 1 leads to B and action 0 to C; B always leads to A; in C the episode ends. Arriving
    in B or C pays 1.

    Under the best policy V(A) = 1 / (1 - d^2) and V(B) = d / (1 - d^2): C pays as much as B, but nothing follows.
    Actions are random, episodes are cut off now and then, and a new one starts in A or B.
    """
    random = torch.Generator().manual_seed(seed)
    state = torch.zeros(sequences, dtype=torch.int64)
    action = torch.zeros(sequences, dtype=torch.int64)
    ended, columns = torch.ones(sequences, dtype=torch.bool), []
    for _ in range(rows):
        first = ended
        moved = torch.where(state == 0, 2 - action, 0)
        state = torch.where(first, torch.randint(2, (sequences,), generator=random), moved)
        reward = (state > 0).float() * ~first
        terminal = state == 2
        ended = terminal | (torch.rand(sequences, generator=random) < 0.15)
        columns.append((state, action, reward, first, ended, terminal))
        action = torch.randint(2, (sequences,), generator=random)
    return [torch.stack(column, 1) for column in zip(*columns, strict=True)]


@pytest.fixture(scope="module")
def alternating():
    """A world and a head trained on these states, bootstrapping every imagined row; the replayed value is off, since it
    is of random actions."""
    places = SpaceLayout(vector=("A", "B", "C"), discrete=(("go", 2),))
    torch.manual_seed(0)
    # the whole state is about one nat, no more than the free nats: those would leave the dynamics untrained
    world = World(places, WorldSettings(deter=32, hidden=16, groups=2, classes=4, units=32, free_nats=0))
    settings = ActorCriticSettings(
        horizon=5, discount_horizon=2, lam=0.0, layers=2, replay_value=0, slow_critic_rate=0.1
    )
    head = ActorCritic(head_context(world, settings))
    learner = Learner(world, {"task": head}, OptimizerSettings(lr=1e-2, warmup=20))
    for update in range(300):
        states, actions, rewards, firsts, lasts, terminals = _alternation(16, 6, seed=update)
        start = world.initial(16)
        batch = Batch(
            image=None,
            vector=F.one_hot(states, 3).float(),
            previous_action=F.one_hot(actions, 2).float(),
            action=torch.zeros(16, 6, 2),
            signals=torch.zeros(16, 6, 0),
            is_first=firsts,
            is_last=lasts,
            is_terminal=terminals,
            reset_state=torch.zeros_like(firsts),
            instance=torch.zeros(16, dtype=torch.int64),
            deter=start.deter,
            stoch=start.stoch,
        )
        labels = {"task": HeadLabels(rewards, terminals, torch.ones(16, 6, dtype=torch.bool))}
        learner.update(batch, labels, torch.ones(16, 3), torch.ones(16))
    return world, head


def _seen(world, copies):
    """States after a first look at A (the first half) and at B."""
    n = 2 * copies
    looks = torch.eye(3)[:2].repeat_interleave(copies, 0)
    first, none = torch.ones(n, dtype=torch.bool), torch.zeros(n, 2)
    return world.step(None, looks, none, first, world.initial(n), world.draw_noise(n))


def test_the_end_is_foreseen_where_it_comes(alternating):
    world, head = alternating
    latent = _seen(world, copies=64).map(lambda x: x[:64])
    left, right = (
        world.imagine_step(latent, torch.eye(2)[go].expand(64, 2), world.draw_noise(64)).feature for go in (0, 1)
    )
    reward, continues = head.predict(torch.stack([latent.feature, left, right]))
    torch.testing.assert_close(reward.median(1).values[1:], torch.ones(2), rtol=0, atol=0.1)
    torch.testing.assert_close(continues.median(1).values, torch.tensor([DISCOUNT, 0, DISCOUNT]), rtol=0, atol=0.05)


def test_states_are_valued_at_their_closed_form(alternating):
    world, head = alternating
    latent = _seen(world, copies=64)
    best = torch.tensor([1.0, DISCOUNT]) / (1 - DISCOUNT**2)
    assert head.actor(latent.feature).log_probs[0][:64, 1].exp().min() > 0.9

    noise = draw_noise(world, head.actor, 128, 10, None)
    imagined = head.imagine(world, latent, noise)
    reward, continues = head.predict(imagined.feature)
    paid = torch.tensor([[1.0, 0, 1, 0, 1], [0, 1, 0, 1, 0]])
    torch.testing.assert_close(reward.view(2, 64, -1).median(1).values[:, 1:6], paid, rtol=0, atol=0.15)
    discounts = continues[:, 1:].cumprod(1) / continues[:, 1:].clamp(min=1e-6)
    returns = (discounts * reward[:, 1:]).sum(1)
    torch.testing.assert_close(returns.view(2, 64).mean(1), best, rtol=0.1, atol=0)
    value = head.critic.mean(head.critic(latent.feature)).detach()
    torch.testing.assert_close(value.view(2, 64).mean(1), best, rtol=0.15, atol=0)
