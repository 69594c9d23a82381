"""Before and after a head is trained on an old world: what it begins as, and what it is expected to earn."""

import pytest
import torch
from small_agent import VECTOR, head_context, small_head, small_world

from manyheads.heads.actor_critic import ActorCritic, ActorCriticSettings
from manyheads.heads.contract import HeadBatch
from manyheads.learning.prediction import MEMBERS, ReturnPredictor, ensemble_interval
from manyheads.learning.transfer import FRESH, Candidate, choose_start
from manyheads.storage.evaluations import Interval
from manyheads.world.model import Latent


class Paid:
    """Just what a predictor asks of a task."""

    class reward:
        memory_size = 0


def rows(world, seed, sequences=8, length=6):
    """Latents whose reward is 2 where the first class of the first variable is on, else 0; the second one ends."""
    random = torch.Generator().manual_seed(seed)
    size, shape = world.settings, (sequences, length)
    deter = torch.randn(*shape, size.deter, generator=random).tanh()
    classes = torch.randint(size.classes, (*shape, size.groups), generator=random)
    stoch = torch.nn.functional.one_hot(classes, size.classes).float()
    never = torch.zeros(shape, dtype=torch.bool)
    reward, ends = 2 * stoch[..., 0, 0], stoch[..., 1, 0].bool()
    return HeadBatch(Latent(deter, stoch), torch.zeros(*shape, 2), reward, never, ends, ends, ~never)


def predictor(world, updates=300):
    seeds = iter(range(10_000))
    return ReturnPredictor(world, Paid(), seed=0).fit(lambda: rows(world, next(seeds)), updates)


def test_an_ensemble_learns_reward_and_ends_and_agrees_where_it_has_seen():
    world = small_world(VECTOR)
    found = predictor(world)
    seen = rows(world, 99_999)
    feature = seen.latents.feature.flatten(0, 1)
    with torch.no_grad():
        reward, live = found.ensemble(feature)
        strange = 10 * torch.randn(64, feature.shape[1], generator=torch.Generator().manual_seed(1))
        elsewhere, _ = found.ensemble(strange)
    assert reward.shape == (MEMBERS, len(feature))
    assert (reward.mean(0) - seen.reward.flatten()).abs().mean() < 0.4
    assert live.mean(0)[seen.is_terminal.flatten()].mean() < 0.3
    assert live.mean(0)[~seen.is_terminal.flatten()].mean() > 0.7
    assert elsewhere.std(0).mean() > 2 * reward.std(0).mean()


def test_returns_count_the_chance_that_an_episode_continues():
    world = small_world(VECTOR)
    found = predictor(world, updates=1)
    begin = Latent(*(x[:, 0] for x in rows(world, 1).latents))
    head = small_head(world)
    with torch.no_grad():
        for member in found.ensemble.members:
            torch.nn.init.zeros_(member[1].weight)
            member[1].bias.zero_()
    one = float(found.ensemble.norm.denormalize(torch.zeros(1)))
    returns = found.returns(head, begin, steps=3)
    torch.testing.assert_close(returns, torch.full_like(returns, one * (1 + 0.5 + 0.25)))


def test_an_interval_is_as_wide_as_members_disagree():
    agree, differ = torch.full((5, 8), 3.0), torch.arange(5.0)[:, None].expand(5, 8)
    assert ensemble_interval(agree) == Interval(3.0, 3.0, 3.0)
    assert ensemble_interval(differ) == Interval(2.0, 0.0, 4.0)


def candidate(name, mean, low, high):
    return Candidate(name, Interval(mean, mean, mean), Interval(mean, low, high))


def test_a_head_begins_as_another_only_where_that_is_surely_better():
    fresh = candidate(FRESH, 0.0, 0.0, 0.0)
    assert choose_start([candidate("walk", 5.0, 1.0, 9.0), fresh]) == "walk"
    assert choose_start([candidate("walk", 5.0, -1.0, 9.0), fresh]) == FRESH
    assert choose_start([fresh, candidate("walk", -5.0, -6.0, -1.0)]) == FRESH


def test_a_head_takes_over_how_to_act_and_not_what_it_was_paid_for():
    world = small_world(VECTOR)
    old, new = small_head(world), small_head(world)
    with torch.no_grad():
        for parameter in old.parameters():
            parameter.add_(1)
    kept = {name: x.clone() for name, x in new.state_dict().items()}
    assert new.can_start_from(old)
    new.start_from(old)
    changed = {name.partition(".")[0] for name, x in new.state_dict().items() if not x.equal(kept[name])}
    assert changed == {"actor", "continues"}
    assert all(x.equal(old.actor.state_dict()[name]) for name, x in new.actor.state_dict().items())


@pytest.mark.parametrize("what", ["width", "actions"])
def test_a_head_of_another_shape_or_body_is_no_start(what):
    world = small_world(VECTOR)
    other = small_head(world, units=8) if what == "width" else small_head(world, VECTOR.__class__(continuous=("u",)))
    assert isinstance(other, ActorCritic)
    assert not small_head(world).can_start_from(other)
    assert small_head(world).can_start_from(ActorCritic(head_context(world, ActorCriticSettings(horizon=9))))
