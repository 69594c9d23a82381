"""Environment steps collected a second: by plugin, with worker processes, and compared with the bare simulator.

`bare` steps the simulator as its own library offers it, one instance, random actions. `simulator` is the plugin's
Gymnasium environment of it, which measures signals, too. `collected` is the platform's collector with random actions,
which makes flat rows and writes them to disk. `acting` has a world of the preset `demo` and a head choose the actions,
too. Ways take turns, so that a machine that slows down slows all; shown are medians. On a machine that others use,
`--cpu-time` counts what this process computed. `cost` is what the collector takes on top of the bare simulator's time
(target for walker: at most 25%).

    python benchmarks/collecting.py [--environment walker …] [--workers 1,2,4] [--steps 1000] [--json]
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import gymnasium
import numpy as np
import torch
from experiment import show

from manyheads import Task, TaskFile, load_task
from manyheads.experience.collector import ActFunction, Collector
from manyheads.experience.subproc_vector_env import choose_vector_env
from manyheads.experience.vector_env import EnvSlot
from manyheads.heads.policy import VectorPolicy, random_action
from manyheads.learning.trainer import Trainer
from manyheads.settings import load_settings
from manyheads.storage.growth import records
from manyheads.storage.world_folder import WorldFolder

Advance = Callable[[], int]
"""Takes more steps in every environment; returns how many environment steps that took."""
Clock = Callable[[], float]


@dataclass(frozen=True)
class Subject:
    """A task, and the same simulator without the platform."""

    task: Callable[[], Task]
    bare: Callable[[], Advance]


def registered(id: str, **arguments: Any) -> Advance:
    """An id of Gymnasium's registry."""
    return stepping(gymnasium.make(id, **arguments))


def stepping(env: gymnasium.Env[Any, Any]) -> Advance:
    """An environment with Gymnasium's API under random actions, reset where it ends."""
    env.reset(seed=0)
    env.action_space.seed(0)

    def advance() -> int:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
        return 1

    return advance


def suite_task(domain: str, task: str, repeat: int, pixels: int | None = None) -> Advance:
    """A task of dm_control under random actions, each carried out `repeat` times; drawn once a step if wanted."""
    import_module("manyheads_dmc.simulator")  # chooses how dm_control draws where there is no screen
    from dm_control import suite

    env = suite.load(domain, task, {"random": 0})
    spec, random = env.action_spec(), np.random.default_rng(0)
    env.reset()

    def advance() -> int:
        action = random.uniform(spec.minimum, spec.maximum)
        for _ in range(repeat):
            if env.step(action).last():
                env.reset()
                break
        if pixels:
            env.physics.render(pixels, pixels, camera_id=0)
        return 1

    return advance


def game(name: str) -> Advance:
    """A game of the Arcade Learning Environment, four frames a step."""
    import ale_py

    gymnasium.register_envs(ale_py)
    return registered(f"ALE/{name}-v5", frameskip=4, repeat_action_probability=0.0, full_action_space=False)


def grid(level: str) -> Advance:
    import minigrid  # noqa: F401  (registers its levels)

    return registered(f"MiniGrid-{level}")


def pictured() -> Task:
    content = load_task("dmc/cartpole-keep_up").content
    options = {**content.options, "image_size": 64, "vector": False}
    return TaskFile.model_validate({**content.model_dump(), "options": options}).resolve("dmc/cartpole-keep_up.pixels")


SUBJECTS = {
    "cartpole": Subject(lambda: load_task("gymnasium/CartPole-v1"), lambda: registered("CartPole-v1")),
    "walker": Subject(lambda: load_task("dmc/walker-walk"), lambda: suite_task("walker", "walk", 2)),
    "pixels": Subject(pictured, lambda: suite_task("cartpole", "balance", 4, pixels=64)),
    "minigrid": Subject(lambda: load_task("minigrid/Empty-5x5-v0-goal"), lambda: grid("Empty-5x5-v0")),
    "atari": Subject(lambda: load_task("atari/Freeway-score"), lambda: game("Freeway")),
}


@contextmanager
def collecting(task: Task, envs: int, workers: int, acting: bool = False) -> Iterator[Advance]:
    """Collects a row in each of so many environments a call, into a replay on disk."""
    with tempfile.TemporaryDirectory(prefix="manyheads-collecting-") as folder:
        world = WorldFolder.create(Path(folder) / "world", load_settings("demo"), records([task]))
        with closing(Trainer(world, [task])) as trainer:
            slots = [EnvSlot(task.instance, task.name, task.episode_steps)] * envs
            collector = Collector(slots, world.interface, trainer.replay, 0, choose_vector_env(workers))
            act = (
                VectorPolicy(trainer.world, trainer.heads, [task.name] * envs, collector.layouts, 0).act
                if acting
                else at_random(trainer, envs)
            )
            with closing(collector):
                yield lambda: collector.collect(act).steps


def at_random(trainer: Trainer, envs: int) -> ActFunction:
    """Random actions, without latents."""
    generator = torch.Generator().manual_seed(0)
    return lambda *_: (random_action(trainer.world.interface, envs, generator).numpy(), None, None)


def rate(advance: Advance, steps: int, clock: Clock = time.perf_counter) -> float:
    """Environment steps a second."""
    begun, done = clock(), 0
    while done < steps:
        done += advance()
    return done / (clock() - begun)


def measured(subject: Subject, envs: int, workers: list[int], steps: int, rounds: int, clock: Clock) -> dict[str, Any]:
    """Median rates of every way, and what the collector costs; the clock is for ways without workers."""
    task = subject.task()
    with ExitStack() as stack:
        ways = {
            "bare": subject.bare(),
            "simulator": stepping(task.make_simulator()),
            "collected": stack.enter_context(collecting(task, envs, 0)),
            "acting": stack.enter_context(collecting(task, envs, 0, acting=True)),
        }
        clocks = dict.fromkeys(ways, clock)
        ways |= {f"{n} workers": stack.enter_context(collecting(task, envs, n)) for n in workers}
        for advance in ways.values():
            rate(advance, max(2 * envs, steps // 10))
        turns = [
            {way: rate(advance, steps, clocks.get(way, time.perf_counter)) for way, advance in ways.items()}
            for _ in range(rounds)
        ]
    found = {way: statistics.median(turn[way] for turn in turns) for way in ways}
    cost = statistics.median(turn["bare"] / turn["collected"] - 1 for turn in turns)
    return {"task": task.name, **found, "cost": cost}


@click.command()
@click.option("--environment", "names", multiple=True, type=click.Choice([*SUBJECTS]), default=(*SUBJECTS,))
@click.option("--workers", default="1,2,4", show_default=True, help="numbers of worker processes")
@click.option("--envs", default=4, show_default=True, type=click.IntRange(min=1), help="environments stepped together")
@click.option("--steps", default=1000, show_default=True, type=click.IntRange(min=1), help="of each way in a turn")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1), help="turns")
@click.option("--cpu-time", is_flag=True, help="seconds that this process computed, where there are no workers")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
def main(
    names: tuple[str, ...], workers: str, envs: int, steps: int, rounds: int, cpu_time: bool, as_json: bool
) -> None:
    """Time collection by the platform's collector and by bare simulators."""
    numbers = [int(number) for number in workers.split(",") if number]
    clock = time.process_time if cpu_time else time.perf_counter
    lines = [measured(SUBJECTS[name], envs, numbers, steps, rounds, clock) for name in names]
    show("Environment steps a second", lines, as_json, environments=envs)


if __name__ == "__main__":
    main()
