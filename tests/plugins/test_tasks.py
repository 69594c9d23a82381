"""Every packaged task is sound: names, options, reward, success."""

import numpy as np
import pytest

from manyheads.registry import registry
from manyheads.rewards.validate import check_success
from manyheads.task import load_task

NAMES = [name for name, owner in registry().tasks.owners.items() if owner == "tasks"]


def test_there_are_tasks():
    assert {"dmc/cartpole-swingup", "dmc/cartpole-park_left", "gymnasium/Pendulum-v1-swingup"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_packaged_task_is_sound(name):
    task = load_task(name)
    assert name.startswith(f"{task.environment}-")
    assert task.goal.endswith(".")
    signals = task.instance.signals
    source = task.reward
    assert source.signals <= {signal.name for signal in signals}
    labels = source.label({name: np.zeros((3, 2)) for name in source.signals})
    assert labels.reward.shape == (3, 2)
    if source.reads == "signals" and task.head != "explore/held_random":
        assert task.success is not None
        assert check_success(task.success, signals) == []
    if task.content.reward.source == "spec":
        assert source.spec.environment == task.environment
        assert source.spec.goal == task.goal
