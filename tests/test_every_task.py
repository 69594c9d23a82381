"""Every registered task loads, its reward source is built and reads what its environment measures."""

import pytest

from manyheads.registry import registry
from manyheads.task import load_task, tasks


@pytest.mark.parametrize("name", sorted(registry().tasks))
def test_task(name: str) -> None:
    task = load_task(name)
    assert task.name == name
    assert task.goal, "a task says in one sentence what it wants"
    assert task.head in registry().heads
    assert task.reward.signals <= {signal.name for signal in task.instance.signals}
    assert name.split("/")[0] == task.environment.split("/")[0]


def test_listing_leaves_none_out() -> None:
    assert [task.name for task in tasks()] == sorted(registry().tasks)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(registry().tasks))
def test_task_runs(name: str) -> None:
    task = load_task(name)
    if task.instance.environment.missing():
        pytest.skip(f"{task.environment} needs {task.instance.environment.missing()}")
    env = task.make_environment(seed=0)
    _, info = env.reset()
    for _ in range(3):
        *_, info = env.step(env.action_space.sample())
    reward, terminated = task.reward.label(
        {name: [[value]] for name, value in info["signals"].items()}, is_first=[[False]]
    )
    assert reward.shape == terminated.shape == (1, 1)
    env.close()
