"""What the report of a world says, gathered from the world's folder."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import BaseModel

from manyheads.atomic import read_lines, read_text
from manyheads.environment.contract import Instance, Signal
from manyheads.errors import ManyheadsError
from manyheads.report import plots
from manyheads.report.metrics import Series, read
from manyheads.report.videos import Clip, real_and_imagined
from manyheads.rewards.coverage import Coverage, coverage
from manyheads.rewards.describe import Words, describe
from manyheads.rewards.sources import SpecSettings, episode_succeeded
from manyheads.storage.agent import Agent, load
from manyheads.storage.evaluations import RESERVED_SEEDS, Evaluation
from manyheads.storage.evaluations import read as read_evaluations
from manyheads.storage.versions import installed_versions
from manyheads.storage.world_folder import WorldFolder

if TYPE_CHECKING:
    from manyheads.experience.recorded_episode import Episode
    from manyheads.experience.replay import Replay
    from manyheads.task import Task

CURVES = 12
"""recorded episodes that a reward is drawn along"""
ERROR_AT = (1, 15, 50, 200)
"""steps into imagination at which its error is told"""


class Decision(BaseModel):
    """What the goal's writer decided; other parts of the record are not shown."""

    about: str
    question: str
    answer: str
    step: str
    """which of its steps decided"""
    margin: float | None = None
    why: str = ""


@dataclass(frozen=True)
class HeadContents:
    """One head: its task in words and as a file, what experience earns under it, and a clip of it at work."""

    task: Task
    file: str
    """the task file's text"""
    words: str
    """the reward in plain words"""
    success: str
    curve: str
    """SVG, empty without recorded episodes"""
    coverage: Coverage | None
    """None where the reward is not a specification, or nothing is recorded"""
    succeeded: tuple[int, int] | None
    """recorded episodes that succeed, of how many; None where the task says nothing about success"""
    trained: str
    """how, in words"""
    decisions: list[Decision]
    """what the goal's writer decided, and which of its steps did; empty where a person wrote the task"""
    evaluations: dict[str, Evaluation]
    """by policy, `random` and `head`"""
    video: str
    """mp4, base64"""
    no_video: str
    """why there is none"""
    errors: list[tuple[int, float]]
    """(steps imagined, distance from what was real), in standard deviations"""


@dataclass(frozen=True)
class SignalRow:
    """A signal with what was measured of it so far."""

    signal: Signal
    quantiles: tuple[float, float, float] | None
    """1%, 50%, 99%; None where nothing is recorded"""
    histogram: str


@dataclass
class Contents:
    """Everything on the page; made by `gather`."""

    folder: WorldFolder
    series: dict[str, Series]
    evaluations: list[Evaluation]
    heads: list[HeadContents]
    unreadable: dict[str, str]
    """why, by name of the head"""
    signals: dict[str, list[SignalRow]]
    """by instance"""
    parameters: int
    rows: int
    episodes: int
    versions: dict[str, str] = field(default_factory=installed_versions)

    @property
    def updates(self) -> int:
        """How often the world model was updated."""
        return int(self.folder.checkpoint.state.get("updates", 0))

    @property
    def seconds(self) -> float:
        """Seconds of work on this world."""
        return max((one.time[-1] for one in self.series.values() if one.time), default=0.0)

    @property
    def nonfinite(self) -> int:
        """How many numbers of the metrics were NaN or infinite."""
        return sum(one.nonfinite for one in self.series.values())

    @cached_property
    def settings(self) -> str:
        return yaml.safe_dump(self.folder.settings.model_dump(mode="json"), sort_keys=False)


def gather(world: Path | str, video_steps: int = 300, done: Callable[[str], None] = lambda head: None) -> Contents:
    """Reads a world's folder and plays an episode of each head for its video; `done` hears of each head finished.

    `video_steps=0` leaves videos out. Raises ManyheadsError where there is no trained world.
    """
    loaded = load(world)
    folder = loaded.folder
    replay = folder.replay(read_only=True)
    try:
        series, evaluations = read(folder.path), read_evaluations(folder.path)
        heads, unreadable = [], {}
        for name in folder.heads:
            try:
                heads.append(_head(loaded.head(name), folder, replay, evaluations, video_steps))
            except ManyheadsError as error:
                unreadable[name] = str(error)
            except Exception as error:  # whatever a plugin raises, the other heads are shown
                unreadable[name] = f"{type(error).__name__}: {error}"
            done(name)
        return Contents(
            folder=folder,
            series=series,
            evaluations=evaluations,
            heads=heads,
            unreadable=unreadable,
            signals=_signals([record.instance() for record in folder.instances], replay),
            parameters=sum(parameter.numel() for parameter in loaded.model.parameters()),
            rows=replay.rows,
            episodes=len(replay.episodes()),
        )
    finally:
        replay.close()


def _head(
    agent: Agent, folder: WorldFolder, replay: Replay, evaluations: Sequence[Evaluation], steps: int
) -> HeadContents:
    task = agent.task
    own = [episode for episode in replay.episodes(task.instance.dynamics_key) if _holds(task, episode)]
    words, covered = "The simulator's own reward.", None
    if isinstance(task.settings, SpecSettings):
        words = describe(task.settings.spec, task.instance.signals)
        covered = _coverage(task.settings, own, task.instance.step_seconds)
    elif task.content.reward.source != "environment":
        words = f"Reward source {task.content.reward.source}: {task.settings}"
    clip, no_video = _clip(agent, steps)
    return HeadContents(
        task=task,
        file=read_text(folder.head_folder(task) / "task.yaml"),
        words=words,
        success=Words(task.instance.signals).success(task.success) if task.success else "",
        curve=plots.reward_along_episodes([_rewards(task, episode) for episode in own[-CURVES:]]),
        coverage=covered,
        succeeded=_succeeded(task, own),
        trained=_trained(folder, task.name),
        decisions=_decisions(folder, task),
        evaluations={one.policy: one for one in evaluations if one.task == task.name},
        video=_base64(clip) if clip else "",
        no_video=no_video,
        errors=[(at, float(clip.error[at - 1])) for at in ERROR_AT if at <= len(clip.error)] if clip else [],
    )


def _holds(task: Task, episode: Episode) -> bool:
    return episode.instance.key == task.instance.key or not task.reward.own_rows_only


def _rewards(task: Task, episode: Episode) -> npt.NDArray[np.float32]:
    signals = episode.signals
    return np.asarray(task.reward.label({name: signals[name] for name in task.reward.signals}).reward)


def _coverage(settings: SpecSettings, episodes: Sequence[Episode], step_seconds: float | None) -> Coverage | None:
    long = [episode for episode in episodes if len(episode) > 1]
    if not long:
        return None
    tables = [episode.signals for episode in long]
    shared = set.intersection(*(set(table) for table in tables))
    signals = {name: np.concatenate([table[name] for table in tables]) for name in sorted(shared)}
    return coverage(settings.spec, signals, np.concatenate([episode.is_first for episode in long]), step_seconds)


def _succeeded(task: Task, episodes: Sequence[Episode]) -> tuple[int, int] | None:
    if task.success is None or not episodes:
        return None
    seconds = task.instance.step_seconds
    return sum(episode_succeeded(task.success, episode.signals, seconds) for episode in episodes), len(episodes)


def _trained(folder: WorldFolder, name: str) -> str:
    state = folder.checkpoint.state
    run = state.get("heads", {}).get(name, {}).get("run", "")
    made = state.get("runs", {}).get(run)
    if made is None:
        return ""
    alone = run != "train"
    how = "alone on the frozen world" if alone else "jointly with the world"
    return f"Trained {how}: {made['updates']:,} updates, {made['steps']:,} {'new ' if alone else ''}environment steps."


def _decisions(folder: WorldFolder, task: Task) -> list[Decision]:
    """The decisions in a head's journal; none where it has no journal."""
    places = (folder.head_folder(task) / "goal.jsonl", folder.path / "goals" / f"{task.slug}.jsonl")
    path = next((place for place in places if place.exists()), None)
    if path is None:
        return []
    try:
        records = [json.loads(line) for line in read_lines(path)]
        return [Decision.model_validate(record) for record in records if record["call"] == "decision"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ManyheadsError(f"{path} can't be read: {error}. Delete it to continue without it.") from error


def _clip(agent: Agent, steps: int) -> tuple[Clip | None, str]:
    if not steps:
        return None, "Videos were left out."
    try:
        return real_and_imagined(agent.world, agent.head, agent.task, RESERVED_SEEDS, steps), ""
    except ManyheadsError as error:
        return None, str(error)


def _base64(clip: Clip) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        clip.write(path)
        return base64.b64encode(path.read_bytes()).decode()


def _signals(instances: Sequence[Instance], replay: Replay) -> dict[str, list[SignalRow]]:
    tables = {}
    for instance in instances:
        measured = replay.signals(instance.dynamics_key)
        rows = []
        for signal in instance.signals:
            values = measured.get(signal.name)
            if values is None or not len(values):
                rows.append(SignalRow(signal, None, ""))
                continue
            low, middle, high = np.quantile(values, [0.01, 0.5, 0.99]).tolist()
            rows.append(SignalRow(signal, (low, middle, high), plots.histogram(values)))
        tables[instance.key] = rows
    return tables
