"""The task file of a written goal: for which instance, and how long its episodes are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manyheads import ManyheadsError, TaskFile, load_task
from manyheads.environment.contract import Instance
from manyheads.registry import registry
from manyheads.rewards.spec import RewardSpec
from manyheads.storage.world_folder import WorldFolder

EPISODE = 1000
"""simulator steps in an episode of an environment that says nothing of them and has no packaged task"""


def instance_for(folder: WorldFolder | None, environment: str | None, options: Mapping[str, Any]) -> Instance:
    """The instance that a goal is for: with a world's own options where there is one, those given on top."""
    if folder is None:
        if environment is None:
            raise ManyheadsError("Say where: --environment NAME, or --world WORLD (`manyheads list environments`).")
        return registry().environments[environment].instance(options)
    names = list(dict.fromkeys(record.environment for record in folder.instances))
    if environment is None and len(names) > 1:
        raise ManyheadsError(f"{folder.path} knows {', '.join(names)}; say which with --environment NAME.")
    name = environment or names[0]
    own = next((record.options for record in folder.instances if record.environment == name), {})
    instance = registry().environments[name].instance({**own, **options})
    folder.record_of(instance)
    return instance


def task_file(spec: RewardSpec, instance: Instance, folder: WorldFolder | None) -> TaskFile:
    data = {"version": 1, **spec.model_dump(mode="json", exclude_defaults=True, exclude={"success"})}
    return TaskFile.model_validate(
        {
            "version": 1,
            "environment": instance.environment.name,
            "options": instance.options.model_dump(mode="json", exclude_defaults=True),
            "reward": {"source": "spec", "spec": data},
            "success": spec.success,
            "episode_steps": episode_steps(instance, folder),
            "goal": spec.goal,
        }
    )


def episode_steps(instance: Instance, folder: WorldFolder | None) -> int:
    """As long as the world's own tasks there, else as the first packaged task, else as the environment says."""
    for name in folder.heads if folder else ():
        task = folder.task(name) if folder else None
        if task is not None and task.instance.dynamics_key == instance.dynamics_key:
            return task.episode_steps
    repeat = getattr(instance.options, "action_repeat", 1)
    prefix = f"{instance.environment.name}-"
    for name in sorted(registry().tasks):
        if name.startswith(prefix):
            task = load_task(name)
            return max(1, task.episode_steps * int(task.options.get("action_repeat", 1)) // repeat)
    return instance.episode_steps or max(1, EPISODE // repeat)
