"""The contracts between rooms, each with a small real use beyond the actor-critic."""

import numpy as np
import torch
from small_agent import VECTOR, head_context, random_batch, small_head, small_learner, small_world
from torch import nn
from torch.nn import functional as F

from manyheads.blocks import MLP, Linear, RewardPredictor
from manyheads.environment.layout import SpaceLayout
from manyheads.heads.contract import Head, HeadBatch, HeadLosses
from manyheads.heads.policy import VectorPolicy

CHOICES = SpaceLayout(vector=("p", "q"), discrete=(("m", 3),))


class BehaviourCloning(Head):
    """Learns the recorded actions; needs the batch's actions, and nothing of imagination."""

    def __init__(self, context):
        super().__init__()
        units = context.world.units
        self.logits = nn.Sequential(MLP(context.world.feature_size, units, 1), Linear(units, 3))

    def act(self, world, latent, state, is_first, generator=None):
        return F.one_hot(self.logits(latent.feature).argmax(-1), 3).float(), state

    def losses(self, batch, world, generator=None):
        log_probs = self.logits(batch.latents.feature.detach()).log_softmax(-1)
        per_row = -(log_probs * batch.action).sum(-1) * batch.mask
        return HeadLosses({"clone": per_row.sum() / batch.mask.sum()})


class SlowQ(Head):
    """A Q head with its own slow copy, whose new state is returned, not written."""

    steps: torch.Tensor

    def __init__(self, context):
        super().__init__()
        self.q = Linear(context.world.feature_size, 3)
        self.register_buffer("steps", torch.zeros(()))

    def act(self, world, latent, state, is_first, generator=None):
        return F.one_hot(self.q(latent.feature).argmax(-1), 3).float(), state

    def losses(self, batch, world, generator=None):
        q = self.q(batch.latents.feature.detach())
        live = 1 - batch.is_terminal[:, 1:].float()
        target = batch.reward[:, 1:] + 0.9 * live * q[:, 1:].detach().amax(-1)
        chosen = (q[:, :-1] * batch.action[:, :-1]).sum(-1)
        inside = (batch.mask[:, :-1] & ~batch.is_last[:, :-1]).float()
        loss = ((chosen - target).square() * inside).sum() / inside.sum().clamp(min=1)
        return HeadLosses({"td": loss}, {"q": q.detach().mean()}, {"steps": self.steps + 1})


class Alternating(Head):
    """Acts by what it remembers: the number of steps since the episode began."""

    def __init__(self, context):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def initial_state(self, n):
        return {"steps": torch.full((n,), -1.0)}

    def act(self, world, latent, state, is_first, generator=None):
        steps = torch.where(is_first, 0.0, state["steps"] + 1)
        return F.one_hot(steps.long() % 3, 3).float(), {"steps": steps}

    def losses(self, batch: HeadBatch, world, generator=None):
        return HeadLosses({"none": self.unused.square()})


def choosing_world():
    return small_world(CHOICES)


def with_choices(batch):
    choice = torch.randint(3, batch.shape, generator=torch.Generator().manual_seed(0))
    return batch._replace(action=F.one_hot(choice, 3).float())


def test_behaviour_cloning_learns_from_the_batchs_actions():
    world = choosing_world()
    head = BehaviourCloning(head_context(world, None))
    learner = small_learner(world, {"clone": head}, train_world=False)
    batch, labels, *masks = random_batch(world)
    batch = batch._replace(action=F.one_hot(torch.ones(batch.shape, dtype=torch.int64), 3).float())
    found = [learner.update(batch, {"clone": labels}, *masks).metrics["clone/clone"] for _ in range(40)]
    assert found[-1] < 0.3 < found[0]
    action, _ = head.act(world, world.initial(2), (), torch.ones(2, dtype=torch.bool))
    assert action[:, 1].tolist() == [1, 1]


def test_new_state_is_put_in_force_after_the_optimisers_step():
    world = choosing_world()
    head = SlowQ(head_context(world, None))
    learner = small_learner(world, {"q": head}, train_world=False)
    batch, labels, *masks = random_batch(world)
    for step in range(1, 4):
        metrics = learner.update(with_choices(batch), {"q": labels}, *masks).metrics
        assert head.steps == step
    assert "q/q" in metrics


def test_what_a_head_remembers_follows_its_environments_and_a_resumed_run():
    world = choosing_world()
    heads = {"a": Alternating(head_context(world, None)), "b": small_head(world)}
    policy = VectorPolicy(world, heads, ["a", "b", "a"], [world.interface] * 3, seed=0)
    vector = np.zeros((3, 2), np.float32)
    shown = []
    for first in ([True, True, True], [False, False, True], [False, False, False]):
        shown.append(policy.act(None, vector, np.array(first)).action)
    assert [a[0].argmax() for a in shown] == [0, 1, 2]
    assert [a[2].argmax() for a in shown] == [0, 0, 1]
    again = VectorPolicy(world, heads, ["a", "b", "a"], [world.interface] * 3, seed=9)
    again.load_state_dict({name: x.clone() for name, x in policy.state_dict().items()})
    own, resumed = (p.act(None, vector, np.zeros(3, bool)).action for p in (policy, again))
    assert np.array_equal(own, resumed)


class Everything(Head):
    """Moves what its environment does not have, too."""

    def act(self, world, latent, state, is_first, generator=None):
        return torch.ones(latent.deter.shape[0], world.interface.action_size), state

    def losses(self, batch, world, generator=None):
        return HeadLosses({})


def test_actions_are_zero_in_what_an_environment_does_not_have():
    world = small_world()
    own = [SpaceLayout(vector=("p",), continuous=("v",), discrete=(("n", 2),)), world.interface]
    heads = {"all": Everything()}
    policy = VectorPolicy(world, heads, [None, None, "all"], [*own, own[0]], seed=0)
    image, vector = np.zeros((3, 8, 8, 3), np.uint8), np.zeros((3, 2), np.float32)
    action = policy.act(image, vector, np.ones(3, bool)).action
    assert not action[0][[0, 2, 3, 4]].any()
    assert action[0][1] != 0
    assert action[0][5:].sum() == 1
    assert action[1][:2].all()
    assert action[1][2:5].sum() == 1
    assert action[2].tolist() == [0, 1, 0, 0, 0, 1, 1]
    assert np.array_equal(policy.state_dict()["action"], action)


def test_a_snapshot_is_all_that_acting_elsewhere_needs():
    world, other = small_world(VECTOR), small_world(VECTOR)
    with torch.no_grad():
        for parameter in world.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    heads, others = {"task": small_head(world)}, {"task": small_head(other)}
    here, there = (VectorPolicy(w, h, ["task"] * 4, [VECTOR] * 4, seed=3) for w, h in ((world, heads), (other, others)))
    vector, first = np.ones((4, 2), np.float32), np.ones(4, bool)
    snapshot = here.snapshot(version=17)
    there.load_snapshot(snapshot)
    assert snapshot.version == 17
    assert np.array_equal(here.act(None, vector, first).action, there.act(None, vector, first).action)


def test_the_standard_head_predicts_rewards():
    world = small_world(VECTOR)
    assert isinstance(small_head(world), RewardPredictor)
    assert not isinstance(Alternating(head_context(choosing_world(), None)), RewardPredictor)
