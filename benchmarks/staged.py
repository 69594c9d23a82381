"""Goals of two stages ("first …, then …"): trained in one world an environment, and played.

An episode counts as done where its last stage was entered and the task's success held after that: success alone could
be had without the first stage. Ctrl-C saves; the same command continues and leaves alone what is done.

    python benchmarks/staged.py FOLDER [--steps 10000] [--seed 0] [--episodes 10] [--json]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from variants import manyheads

from manyheads import Task, load
from manyheads.rewards.sources import SpecSource, successes
from manyheads.rewards.spec import width
from manyheads.storage.evaluations import RESERVED_SEEDS

WORLDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cartpole": (("dmc/cartpole-left_then_upright", "dmc/cartpole-right_then_left"), ()),
    "reacher": (("dmc/reacher-touch_then_retreat",), ("world.vectors=standardised",)),
}
"""Each world's tasks, and the settings in addition to the preset that it is trained with."""


def played(folder: Path, name: str, episodes: int, random: bool = False) -> dict[str, Any]:
    """Shares of reserved episodes that came to the last stage and that did all, and the mean return of the task."""
    agent = load(folder).head(name)
    found = [_episode(agent.task, None if random else agent, RESERVED_SEEDS + i) for i in range(episodes)]
    second, done, returns = (np.array(part, float) for part in zip(*found, strict=True))
    return {"last stage": second.mean(), "done": done.mean(), "return": returns.mean()}


def _episode(task: Task, agent: Any, seed: int) -> tuple[bool, bool, float]:
    env, noise = task.make_environment(), np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    env.action_space.seed(int(noise.integers(1 << 30)))
    if agent is not None:
        agent.reset()
    rows, over = [info["signals"]], False
    while not over:
        action = env.action_space.sample() if agent is None else agent.act(observation, info)
        observation, _, terminated, truncated, info = env.step(action)
        rows.append(info["signals"])
        over = terminated or truncated
    env.close()
    return judge(task, {name: np.array([row[name] for row in rows]) for name in rows[0]})


def judge(task: Task, columns: dict[str, Any]) -> tuple[bool, bool, float]:
    """Whether an episode's rows (T,) came to the last stage, did all, and what they earned."""
    import torch

    source = task.reward
    assert isinstance(source, SpecSource)
    assert task.success is not None
    is_first = torch.arange(len(columns["reward"])) == 0
    steps = source.unroll({name: torch.from_numpy(columns[name]) for name in source.signals}, is_first)
    stages = len(source.spec.stages or [])
    at = sum(map(width, source.spec.memory_nodes)) + stages - 1
    entered = steps.memory[:, at].numpy() > 0
    won = np.asarray(successes(task.success, columns, step_seconds=task.instance.step_seconds))
    held = task.success.held_for
    since = np.cumsum(entered) >= held  # the whole time that success was held lies in the last stage
    return bool(entered.any()), bool((won & since).any()), float(steps.reward.sum())


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--steps", default=10_000, show_default=True, type=click.IntRange(min=1), help="rows of each world")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--episodes", default=10, show_default=True, type=click.IntRange(min=1), help="that each head plays")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
def main(folder: Path, steps: int, seed: int, episodes: int, as_json: bool) -> None:
    """Train a world an environment in FOLDER on its staged tasks, and compare every head with random actions."""
    results = []
    for world, (tasks, settings) in WORLDS.items():
        path = folder / f"{world}-{seed}"
        overrides = [f"--set={setting}" for setting in (f"seed={seed}", *settings)]
        created = () if (path / "world.yaml").exists() else ("--settings", "demo", *overrides)
        manyheads("train", path, *tasks, *created, "--steps", steps)
        for name in tasks:
            for policy in ("random", "head"):
                results.append({"task": name, "policy": policy, **played(path, name, episodes, policy == "random")})
    if as_json:
        click.echo(json.dumps({"steps": steps, "seed": seed, "results": results}, indent=1))
        return
    view = Table("task", "policy", "last stage", "done", "return")
    for one in results:
        view.add_row(
            one["task"], one["policy"], f"{one['last stage']:.0%}", f"{one['done']:.0%}", f"{one['return']:.1f}"
        )
    Console().print(view)


if __name__ == "__main__":
    main()
