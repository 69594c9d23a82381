"""Recorded experience to judge rewards on: random, exploring and ever more skilled, in a world folder on disk."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from manyheads.environment.adapter import FlatEnv, Observation
from manyheads.environment.contract import Instance
from manyheads.experience.records import Rows
from manyheads.experience.replay import Replay
from manyheads.experience.stream import RecordedInstance
from manyheads.settings import load_settings
from manyheads.storage.world_folder import InstanceRecord, WorldFolder
from manyheads_glam.amounts import MeasuredRange, measure

ROWS = 6_000
"""a third each: random actions, held random actions, action sequences that are improved"""
EPISODE = 200
CLIMB = 100
"""steps of an action sequence that is improved"""
ROUNDS = 8
SCATTERED = 0.5
"""share of the random and exploring episodes that start in a random pose, where the simulator can be put into one"""
SLIDE, HINGE = 2, 3
Actions = NDArray[np.float32]


@dataclass(frozen=True)
class Recorded:
    """Rows (T,) of whole episodes one after the other, and their ranges."""

    columns: Mapping[str, NDArray[np.float64]]
    is_first: NDArray[np.bool_]
    measured: Mapping[str, MeasuredRange]


def cache() -> Path:
    """Where recorded rows are kept unless a folder is named; it may be deleted at any time."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "manyheads" / "nl2reward"


def recorded(instances: Sequence[Instance], rows: int = ROWS, seed: int = 0, data: Path | None = None) -> Recorded:
    """Rows of instances that differ in their starts alone, recorded in their simulators on first use."""
    replay = WorldFolder.open(world(instances, rows, seed, data)).replay(read_only=True)
    try:
        episodes = [(episode.signals, episode.is_first) for episode in replay.episodes(instances[0].dynamics_key)]
    finally:
        replay.close()
    names = sorted(episodes[0][0])
    columns = {name: np.concatenate([signals[name] for signals, _ in episodes]) for name in names}
    return Recorded(columns, np.concatenate([first for _, first in episodes]), measure(columns))


def together(instances: Iterable[Instance]) -> dict[str, list[Instance]]:
    """Instances by their dynamics, each once: those that differ in their starts alone share rows."""
    found: dict[str, list[Instance]] = {}
    for instance in {instance.key: instance for instance in instances}.values():
        found.setdefault(instance.dynamics_key, []).append(instance)
    return found


def world(instances: Sequence[Instance], rows: int = ROWS, seed: int = 0, data: Path | None = None) -> Path:
    """The world folder with instances' rows in `data`: experience alone, nothing trained. One that is whole is kept."""
    name = instances[0].environment.name.replace("/", "_")
    content = f"{[one.key for one in instances]} {rows} {seed} {SCATTERED} {[*instances[0].signals]}"
    folder = (data or cache()) / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"
    if not (folder / "whole").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _record(folder, instances, rows, seed)
        (folder / "whole").touch()
    return folder


def _record(folder: Path, instances: Sequence[Instance], rows: int, seed: int) -> None:
    envs = [FlatEnv(instance.make(), instance.signals) for instance in instances]
    records = [
        InstanceRecord(
            environment=instance.environment.name, options=instance.options.model_dump(mode="json"), layout=env.layout
        )
        for instance, env in zip(instances, envs, strict=True)
    ]
    replay = WorldFolder.create(folder, load_settings("demo", []), records).replay()
    try:
        for instance, env in zip(instances, envs, strict=True):
            _record_one(instance, env, replay, rows // len(instances), np.random.default_rng(seed))
        replay.flush()
    finally:
        replay.close()
        for env in envs:
            env.close()


def _record_one(instance: Instance, env: FlatEnv, replay: Replay, rows: int, random: np.random.Generator) -> None:
    player = _Player(env, instance, replay)
    for held in (1, None):
        while player.rows < (rows // 3 if held else 2 * rows // 3):
            actions = _actions(env, EPISODE, random, held)
            player.play(actions, int(random.integers(1 << 20)), scattered=random.random() < SCATTERED)
    for objective in _objectives(instance, random):
        if player.rows >= rows:
            break
        player.climb(objective, random)


class _Player:
    """Plays action sequences in one environment and writes down episodes."""

    def __init__(self, env: FlatEnv, instance: Instance, replay: Replay) -> None:
        self.env, self.replay, self.rows = env, replay, 0
        self.stream = replay.open_stream(RecordedInstance.of(instance, env.layout))

    def play(self, actions: Actions, seed: int, keep: bool = True, scattered: bool = False) -> list[Observation]:
        """One episode, from a random pose where `scattered`; what it showed at each step."""
        row = self.env.reset(seed)
        if scattered:
            _scatter(self.env, np.random.default_rng(seed))
        seen, ended = [row], (False, False)
        for action in actions:
            row, is_last, is_terminal = self.env.step(action)
            seen.append(row)
            ended = (is_last, is_terminal)
            if is_last:
                break
        if keep:
            self._write(seen, actions, ended)
        return seen

    def climb(self, objective: tuple[int, float], random: np.random.Generator) -> None:
        """Improves a sequence towards one signal's high or low side; keeps one half-way and the best."""
        column, sign = objective
        seed = int(random.integers(1 << 20))
        best = _actions(self.env, CLIMB, random, None)
        worth = -np.inf
        for round_ in range(ROUNDS):
            tried = best if round_ == 0 else _changed(self.env, best, random)
            seen = self.play(tried, seed, keep=False)
            score = sign * float(np.mean([row.signals[column] for row in seen[len(seen) // 2 :]]))
            if score > worth:
                best, worth = tried, score
            if round_ == ROUNDS // 2:
                self.play(best, seed)
        self.play(best, seed)

    def _write(self, seen: Sequence[Observation], actions: Actions, ended: tuple[bool, bool]) -> None:
        number = np.array([self.replay.new_episode()])
        for i, row in enumerate(seen):
            last = i == len(seen) - 1
            one = Rows(
                image=None if row.image is None else row.image[None],
                vector=row.vector[None],
                action=actions[min(i, len(actions) - 1)][None],
                signals=row.signals[None],
                is_first=np.array([i == 0]),
                is_last=np.array([last]),
                is_terminal=np.array([last and ended[1]]),
                episode=number,
                index=np.array([i]),
            )
            self.replay.add([self.stream], one)
        self.rows += len(seen)


def _actions(env: FlatEnv, steps: int, random: np.random.Generator, held: int | None) -> Actions:
    """Random flat actions (steps, A), each held for so many steps, or (None) for 3 to 30."""
    rows: list[Actions] = []
    while len(rows) < steps:
        rows += [_action(env, random)] * (held or int(random.integers(3, 31)))
    return np.stack(rows[:steps])


def _action(env: FlatEnv, random: np.random.Generator) -> Actions:
    blocks = [np.eye(size)[random.integers(size)] for size in env.layout.blocks]
    return np.concatenate([random.uniform(-1, 1, len(env.layout.continuous)), *blocks]).astype(np.float32)


def _scatter(env: FlatEnv, random: np.random.Generator) -> None:
    """Joints to random places: within their limits, or for a hinge without any, all round."""
    physics = getattr(env.env.unwrapped, "physics", None)
    if physics is None:
        return
    model = physics.model
    with physics.reset_context():
        for joint in range(model.njnt):
            low, high = model.jnt_range[joint]
            at = model.jnt_qposadr[joint]
            if model.jnt_limited[joint] and model.jnt_type[joint] in (SLIDE, HINGE):
                physics.data.qpos[at] = random.uniform(low, high)
            elif model.jnt_type[joint] == HINGE:
                physics.data.qpos[at] = random.uniform(-np.pi, np.pi)


def _changed(env: FlatEnv, actions: Actions, random: np.random.Generator) -> Actions:
    """The sequence with a stretch or two played otherwise."""
    new = actions.copy()
    for _ in range(int(random.integers(1, 4))):
        begin = int(random.integers(len(new)))
        new[begin : begin + int(random.integers(5, 40))] = _action(env, random)
    return new


def _objectives(instance: Instance, random: np.random.Generator) -> Iterator[tuple[int, float]]:
    """Signals to raise or to lower, without end; every one, the simulator's reward too, before any comes again."""
    both = [
        (i, sign)
        for i, signal in enumerate(instance.signals)
        if not signal.name.startswith("control[")
        for sign in (1.0, -1.0)
    ]
    while True:
        yield from (both[i] for i in random.permutation(len(both)))
