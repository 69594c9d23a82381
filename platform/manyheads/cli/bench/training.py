"""`manyheads bench loop`: what training as a whole costs, and where its time goes."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from manyheads.cli.bench import pictures
from manyheads.cli.bench.clock import Clock, DeviceClock
from manyheads.cli.bench.machine import device_name, show, timed
from manyheads.experience.replay import Replay
from manyheads.experience.subproc_vector_env import SubprocVectorEnv
from manyheads.experience.vector_env import SyncVectorEnv
from manyheads.heads.policy import VectorPolicy
from manyheads.learning.labels import Labeller
from manyheads.learning.learner import Learner
from manyheads.learning.run_checkpoint import RunCheckpoint
from manyheads.learning.trainer import Trainer
from manyheads.report.metrics import Metrics
from manyheads.report.progress import Progress
from manyheads.settings import Settings, changed_settings, load_settings
from manyheads.storage.growth import records
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import Task, load_task

UPDATE, REST = "update", "rest of the loop"

PARTS: tuple[tuple[type, str, str], ...] = (
    (SyncVectorEnv, "step_async", "environments"),
    (SyncVectorEnv, "step_wait", "environments"),
    (SubprocVectorEnv, "step_async", "environments"),
    (SubprocVectorEnv, "step_wait", "environments"),
    (VectorPolicy, "act", "acting"),
    (Replay, "add", "writing rows"),
    (Replay, "sample", "sampling"),
    (Labeller, "__call__", "labels"),
    (Learner, "update", UPDATE),
    (Replay, "write_latents", "writing latents"),
    (Metrics, "write", "metrics"),
    (RunCheckpoint, "save", "saving"),
)
"""which part of training a method is; inside `saving` nothing else counts"""

WARM_UPDATES = 8
"""updates before measuring begins: the first compile"""


@dataclass(frozen=True)
class Loop:
    """A task to train on and the settings that it is trained with."""

    task: Callable[[], Task]
    preset: str
    overrides: tuple[str, ...] = ()


LOOPS: Mapping[str, Loop] = {
    "walker": Loop(lambda: load_task("dmc/walker-walk"), "proprio"),
    "image": Loop(pictures.task, "pixels", ("world.size=1m",)),
}


@click.command()
@click.option("--workload", default="walker", show_default=True, type=click.Choice([*LOOPS]))
@click.option("--updates", default=100, show_default=True, type=click.IntRange(min=1), help="updates to measure")
@click.option("--threads", type=click.IntRange(min=1), help="threads of the CPU  [default: all cores]")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="one setting, as world.size=12m")
@click.option("--json", "as_json", is_flag=True, help="one JSON object instead of a table")
def loop(workload: str, updates: int, threads: int | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Time real training: environments, acting, replay on the disk, updates, saving.

    `walker` is dmc/walker-walk with the preset `proprio`; `image` has an Atari game's shapes (64 x 64 x 3 pictures,
    18 choices) from a made-up environment that costs next to nothing, with the preset `pixels` at world.size=1m.

    The learner is `waiting` while no update runs: while the loop acts, steps environments, writes, samples, labels or
    saves (once, at the end; training saves every five minutes). It is a share of all time that was measured; on a CUDA
    device by its own clock. Replay lies in the system's folder for temporary files (TMPDIR).
    """
    if threads:
        torch.set_num_threads(threads)
    chosen = LOOPS[workload]
    settings = load_settings(chosen.preset, (*chosen.overrides, *overrides))
    with tempfile.TemporaryDirectory(prefix="manyheads-bench-") as folder:
        result = measure(chosen.task(), settings, updates, Path(folder) / "world")
    show(f"Training, {workload}", {"workload": workload, **result}, as_json)


def measure(task: Task, settings: Settings, updates: int, folder: Path) -> dict[str, Any]:
    """Everything that `bench loop` tells of one workload; steps are rows, `parts_ms` milliseconds for each update.

    On a CUDA device `parts_ms` are the host's, whose call of an update returns at once.
    """
    settings = changed_settings(settings, {"training.threads": torch.get_num_threads()})
    training = settings.training
    trainer = Trainer(WorldFolder.create(folder, settings, records([task])), [task])
    rows_an_update = training.batch_size * training.batch_length / training.train_ratio
    begin = training.batch_length * max(training.batch_size, training.num_envs) + rows_an_update * WARM_UPDATES
    end = _lock_steps(begin, training.num_envs) + _lock_steps(updates * rows_an_update, training.num_envs)
    clock, device = Clock(), DeviceClock()
    on_device = [(Learner, "update", UPDATE)] if trainer.world.device.type == "cuda" else []
    try:
        with Metrics(folder) as metrics, Progress(end, "measuring") as progress:
            metrics.write(0, 0, {})  # opens TensorBoard's file, once in a training
            trainer.collect_and_learn(_lock_steps(begin, training.num_envs), progress, metrics)
            steps, before = trainer.steps, trainer.updates
            with clock.watching(PARTS), clock.part(REST), device.watching(on_device):
                trainer.collect_and_learn(end, progress, metrics)
        acting = {"1 environment": acting_ms(trainer, task, 1), "16 environments": acting_ms(trainer, task, 16)}
    finally:
        trainer.close()
    seconds, updating = sum(clock.seconds.values()), clock.seconds[UPDATE]
    if on_device:
        device.read()
        updating = device.seconds[UPDATE]
    done = trainer.updates - before
    parts = sorted(clock.seconds.items(), key=lambda part: -part[1])
    return {
        "task": task.name,
        "size": settings.world.size,
        "environments": training.num_envs,
        "replayed_rows_per_row": training.train_ratio,
        "device": device_name(trainer.world.device.type),
        "threads": torch.get_num_threads(),
        "compiled": trainer.world.execution.compiled,
        "seconds": seconds,
        "steps": trainer.steps - steps,
        "updates": done,
        "steps_per_second": (trainer.steps - steps) / seconds,
        "updates_per_second": done / seconds,
        "update_ms": 1000 * updating / done,
        "waiting": 1 - updating / seconds,
        "acting_ms": acting,
        "parts_ms": {name: 1000 * part / done for name, part in parts},
        "shares": {name: part / seconds for name, part in parts},
    }


def acting_ms(trainer: Trainer, task: Task, count: int, calls: int = 100) -> float:
    """Milliseconds, a median, of choosing one action in each of `count` environments: world.step and head.act."""
    layouts = [trainer.folder.record_of(task.instance).layout] * count
    policies = VectorPolicy(trainer.world, trainer.heads, [task.name] * count, layouts, seed=0)
    interface, random = trainer.world.interface, np.random.default_rng(0)
    image = random.integers(0, 256, (count, *interface.image), np.uint8) if interface.image else None
    vector = random.standard_normal((count, len(interface.vector))).astype(np.float32)
    is_first = np.zeros(count, np.bool_)
    times = [timed(lambda: policies.act(image, vector, is_first)) for _ in range(5 + calls)]
    return 1000 * statistics.median(times[5:])


def _lock_steps(rows: float, slots: int) -> int:
    """Rows of the whole lock-steps that bring at least so many."""
    return ceil(rows / slots) * slots
