"""What a source over latents is given, and how the learner uses what it pays."""

import torch
from small_agent import VECTOR, random_batch, small_head, small_learner, small_world

from manyheads.learning.latent_rewards import latent_rows
from manyheads.world.model import Latent


class Pays(torch.nn.Module):
    """As much as the first number of a row's own latent."""

    def forward(self, rows):
        return rows.feature[..., 0] * rows.valid


def test_each_row_comes_with_the_latent_and_action_before_it():
    world = small_world(VECTOR)
    batch, *_ = random_batch(world)
    s = world.settings
    latents = Latent(torch.rand(*batch.shape, s.deter), torch.rand(*batch.shape, s.groups, s.classes))
    batch = batch._replace(deter=torch.rand(batch.shape[0], s.deter))
    rows = latent_rows(batch, latents)
    assert rows.previous_feature[:, 1:].equal(latents.feature[:, :-1])
    assert rows.previous_feature[:, 0, : s.deter].equal(batch.deter)
    assert rows.previous_action.equal(batch.previous_action)
    assert rows.valid.equal(~batch.is_first)


def test_the_head_learns_what_is_paid_and_the_networks_get_no_gradient():
    world = small_world(VECTOR)
    head = small_head(world)
    batch, labels, *masks = random_batch(world)
    seen = {}
    plain = head.losses
    head.losses = lambda rows, *rest: (seen.update(rows=rows), plain(rows, *rest))[1]
    learner = small_learner(world, {"task": head})
    learner.latent_rewards = {"task": Pays()}
    learner.update(batch, {"task": labels}, *masks)
    reward = seen["rows"].reward
    assert not reward.requires_grad
    assert reward.equal((seen["rows"].latents.deter[..., 0] * ~batch.is_first).detach())
    assert seen["rows"].is_terminal.equal(labels.is_terminal)
