"""The standard head: actions under masks, its settings, policy gradients through the dynamics."""

import pytest
import torch
from small_agent import (
    BOTH,
    VECTOR,
    acted,
    found_losses,
    random_batch,
    rows_of_head,
    small_head,
    small_learner,
    small_world,
)

from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.heads.imagination import draw_noise
from manyheads.learning.learner import HeadLabels

PART = SpaceLayout(vector=("p",), continuous=("v",), discrete=(("n", 2),))


def test_actions_are_zero_outside_the_instances_places():
    world = small_world()
    head = small_head(world, instance=PART)
    action = acted(head, world, world.initial(50))
    assert action.shape == (50, 7)
    assert not action[:, [0, 2, 3, 4]].any()
    assert action[:, 1].std() > 0.5
    assert torch.equal(action[:, 5:].sum(-1), torch.ones(50))


def test_places_outside_count_for_nothing():
    """Density and entropy are those of a head whose interface has the instance's places alone."""
    world = small_world()
    part = small_head(world, instance=PART).actor
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    policy = part(torch.randn(5, 32))
    action = policy.sample(part.draw_noise(5))
    normal = torch.distributions.Normal(policy.mean[:, 1], policy.std[:, 1])
    block = torch.distributions.OneHotCategorical(logits=policy.log_probs[1])
    torch.testing.assert_close(policy.log_prob(action), normal.log_prob(action[:, 1]) + block.log_prob(action[:, 5:]))
    torch.testing.assert_close(policy.entropy(), normal.entropy() + block.entropy())


def test_samples_follow_the_distribution():
    world = small_world()
    actor = small_head(world).actor
    with torch.no_grad():
        actor.logits.bias.copy_(torch.tensor([0.0, 1, 2, 0, 3]))
        actor.mean.bias.copy_(torch.tensor([0.5, -0.5]))
    policy = actor(torch.zeros(20_000, 32))
    action = policy.sample(actor.draw_noise(20_000, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(action[:, :2].mean(0), policy.mean[0].detach(), rtol=0, atol=0.03)
    torch.testing.assert_close(action[:, :2].std(0), policy.std[0].detach(), rtol=0.03, atol=0)
    for places, log_probs in zip((slice(2, 5), slice(5, 7)), policy.log_probs, strict=True):
        probs = log_probs[0].exp().detach()
        torch.testing.assert_close(action[:, places].mean(0), probs, rtol=0, atol=0.02)


def test_acting_repeats_under_a_generator():
    world = small_world()
    head = small_head(world)
    samples = [acted(head, world, world.initial(4), seed=5) for _ in range(2)]
    assert torch.equal(*samples)


def test_the_slow_critic_starts_equal_and_follows():
    world = small_world()
    head = small_head(world, slow_critic_rate=0.25)
    with torch.no_grad():
        head.critic.out.bias += 1
    head.after_update({})
    torch.testing.assert_close(head.slow_critic.out.bias, torch.full((255,), 0.25))
    assert not any(p.requires_grad for p in head.slow_critic.parameters())


def _batch(world, rows=6):
    batch, labels, *_ = random_batch(world, rows=rows)
    start, noise = world.initial(4), world.draw_noise(4, rows)
    observed = world.observe(batch.image, batch.vector, batch.previous_action, batch.is_first, start, noise)
    return batch, rows_of_head(observed.latents, batch, labels)


def test_policy_and_value_losses_reach_actor_and_critic_alone():
    world = small_world()
    head = small_head(world)
    losses = found_losses(head, _batch(world)[1], world)
    (losses["policy"] + losses["value"]).backward()
    assert all(p.grad is None for p in world.parameters())
    reached = {name.split(".")[0] for name, p in head.named_parameters() if p.grad is not None}
    assert reached == {"actor", "critic"}


def test_gradients_through_the_dynamics_reach_the_actor_alone():
    world = small_world(VECTOR)
    head = small_head(world, policy_gradient="dynamics", entropy_coef=0.0)
    with torch.no_grad():
        head.reward.out.weight.normal_(generator=torch.Generator().manual_seed(0))
    losses = found_losses(head, _batch(world)[1], world)
    losses["policy"].backward()
    reached = {name.split(".")[0] for name, p in head.named_parameters() if p.grad is not None}
    assert reached == {"actor"}
    assert head.actor.mean.weight.grad.any()
    assert all(p.grad is None for p in world.parameters())
    assert all(p.requires_grad for p in world.parameters())


@pytest.mark.parametrize("gradient", ["reinforce", "dynamics"])
def test_both_policy_gradients_raise_the_imagined_return(gradient):
    """A frozen random world whose reward head likes some states: imagined returns must rise."""
    world = small_world(VECTOR)
    head = small_head(world, policy_gradient=gradient, entropy_coef=0.0)
    with torch.no_grad():
        head.reward.out.weight[140].normal_(0, 2, generator=torch.Generator().manual_seed(0))
    for part in (head.reward, head.continues):
        part.requires_grad_(False)
    learner = small_learner(world, {"task": head}, train_world=False)
    batch, rows = _batch(world)
    states = rows.latents.map(lambda x: x.detach().flatten(0, 1))
    labels = {"task": HeadLabels(rows.reward, rows.is_terminal, rows.mask)}
    noise = draw_noise(world, head.actor, 24, 8, torch.Generator().manual_seed(1))

    def imagined_reward():
        imagined = head.imagine(world, states, noise)
        return head.predict(imagined.feature)[0][:, 1:].mean().item()

    before = imagined_reward()
    for _ in range(30):
        learner.update_heads(batch, rows.latents, labels)
    assert imagined_reward() > before + 0.02 * abs(before)


def test_discrete_actions_have_no_gradient_through_the_dynamics():
    with pytest.raises(ManyheadsError, match="needs continuous actions"):
        small_head(small_world(BOTH), policy_gradient="dynamics")
