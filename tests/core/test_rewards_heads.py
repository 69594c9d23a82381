"""A head sees what its reward source remembers: in replay, in acting and in imagination."""

import numpy as np
import pytest
import torch
from small_agent import VECTOR, Uncompiled, head_context, random_batch, small_learner, small_world

from manyheads.environment.contract import REWARD, Signal
from manyheads.errors import ManyheadsError
from manyheads.execution.eager import Execution
from manyheads.heads.actor_critic import ActorCritic, ActorCriticSettings
from manyheads.heads.kind import HeadTask
from manyheads.heads.policy import VectorPolicy
from manyheads.rewards.sources import SpecSource
from manyheads.rewards.spec import RewardSpec
from manyheads.world.readout import Readout

X = {"signal": "x"}
SPEC = RewardSpec.model_validate(
    {
        "environment": "test/thing",
        "stages": [
            {
                "reward": {"x": X, "to": {"shape": "ramp", "low": 0.0, "high": 1.0}},
                "advance_when": {"op": "held_for", "of": {"op": "ge", "x": X, "than": 1.0}, "steps": 2},
            },
            {
                "reward": {
                    "x": {"op": "window", "take": "max", "of": X, "steps": 3},
                    "to": {"shape": "ramp", "low": 0.0, "high": 1.0},
                }
            },
        ],
    }
)
SIZE = 1 + 5 + 2
TASK = HeadTask("task", SpecSource(SPEC), (REWARD, Signal("x")), dynamics_key="test/thing")


def head_with_memory(world, **settings):
    torch.manual_seed(1)
    world.readouts[TASK.dynamics_key] = Readout(world.settings, {"x": "continuous"})
    context = head_context(world, ActorCriticSettings(horizon=3, **settings))
    return ActorCritic(type(context)(context.interface, context.mask, context.world, TASK, context.settings))


def labelled(world):
    batch, labels, *masks = random_batch(world)
    signals = {"x": torch.randn(batch.shape[::-1], dtype=torch.float64)}
    steps = TASK.source.unroll(signals, batch.is_first.T)
    return batch, labels._replace(reward=steps.reward.T, memory=steps.memory.transpose(0, 1)), *masks


@pytest.mark.parametrize("execution", [Execution, Uncompiled])
@pytest.mark.parametrize("policy_gradient", ["reinforce", "dynamics"])
def test_a_head_learns_from_memory_and_next_to_a_head_without(execution, policy_gradient):
    world = small_world(VECTOR)
    world.execution = execution()
    world.execution.compute_dtype = torch.float32
    heads = {
        "task": head_with_memory(world, policy_gradient=policy_gradient),
        "plain": ActorCritic(head_context(world, ActorCriticSettings(horizon=3))),
    }
    learner = small_learner(world, heads)
    batch, labels, *masks = labelled(world)
    metrics = learner.update(batch, {"task": labels, "plain": labels._replace(memory=None)}, *masks).metrics
    assert all(np.isfinite(value) for value in metrics.values())
    assert heads["task"].reward.layers.sequence[0].linear.weight.shape[1] == world.settings.feature_size + SIZE


def test_what_a_head_predicts_depends_on_memory():
    world = small_world(VECTOR)
    head = head_with_memory(world)
    learner = small_learner(world, {"task": head}, train_world=False)
    batch, labels, *masks = labelled(world)
    stage = labels.memory[..., -1]
    staged = labels._replace(reward=stage, mask=torch.ones_like(labels.mask))
    first = learner.losses(batch, {"task": staged}, *masks)[0]["task/reward"]
    for _ in range(60):
        learner.update(batch, {"task": staged}, *masks)
    assert learner.losses(batch, {"task": staged}, *masks)[0]["task/reward"] < first / 3


def test_acting_remembers_what_labels_do():
    world = small_world(VECTOR)
    policies = VectorPolicy(world, {"task": head_with_memory(world)}, ["task", None, "task"], [VECTOR] * 3, seed=0)
    random = np.random.default_rng(0)
    x, is_first = random.normal(size=(9, 3)).astype(np.float32), np.zeros((9, 3), bool)
    is_first[0] = is_first[5, 2] = True
    for t in range(9):
        vector = random.normal(size=(3, 2)).astype(np.float32)
        signals = np.stack([np.zeros(3), x[t]], -1)
        policies.act(None, vector, is_first[t], signals)
    expected = TASK.source.unroll({"x": torch.from_numpy(x)}, torch.from_numpy(is_first)).memory[-1, [0, 2]]
    torch.testing.assert_close(policies.state_dict()["state/task/0"], expected)
    with pytest.raises(ManyheadsError, match="The reward of task remembers earlier rows"):
        policies.act(None, vector, is_first[1])
