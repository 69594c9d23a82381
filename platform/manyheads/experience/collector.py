"""The collector: lets policies act in all environments in lock-step and writes down every row with honest flags."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ForeignError
from manyheads.experience.contract import RecordedStreams, ReplaySink
from manyheads.experience.recorded_episode import Episode
from manyheads.experience.records import Rows
from manyheads.experience.stream import RecordedInstance
from manyheads.experience.vector_env import EnvFailure, EnvSlot, Floats, MakeVectorEnv, SyncVectorEnv, VectorStep
from manyheads.run_states import CollectorState, EnvState

TRAINING_SEEDS = 10_000_000
"""Seeds of training episodes lie below; evaluation's are reserved from here on."""
MAX_FAILURES = 5
"""failures in a row of one environment that end collection"""
LONG_EPISODE = 1000
"""steps after which an episode counts as one that the environment survived"""


ActFunction = Callable[
    [npt.NDArray[np.uint8] | None, Floats, npt.NDArray[np.bool_], npt.NDArray[np.float64]], tuple[Floats, Any, Any]
]
"""What acts in all N environments: from image (N, H, W, C) or None, vector (N, V), is_first (N,) and signals (N, S) to
flat actions (N, A), unclipped, and the latents deter (N, D), stoch (N, G, C) after seeing, or None twice.
Where `is_first`, what it remembers is void."""


class EnvironmentFailed(ForeignError):
    """An environment failed too often; collection can't continue, and nothing is wrong with what was collected."""


@dataclass(frozen=True)
class FinishedEpisode:
    """An episode that ended."""

    env: int
    policy: str
    instance: str
    episode: int
    score: float
    """sum of the simulator's own reward"""
    length: int
    """steps taken"""
    stream: int
    """that its rows are in"""


@dataclass(frozen=True)
class CollectResult:
    """The result of one call of `collect`."""

    rows: int
    steps: int
    """environment steps: rows less those that ended an episode, whose actions are not carried out"""
    finished: list[FinishedEpisode]
    failures: list[str] = field(default_factory=list)
    """a line for each environment that failed"""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """how collection goes, to be shown"""


class Collector:
    """Steps N environments in lock-step; each writes to its own stream.

    Every row is written when it has been acted upon. The row with `is_last` holds the final observation of an
    episode; its action is not carried out, and the next row is the `is_first` of a new episode, whose seed
    follows from the run's seed and the episode's number alone. With workers the environments step while the
    caller does other things between two calls; the rows are the same.

    An environment that fails is recreated: its open episode ends, truncated, with the newest row, and a new one begins.
    """

    def __init__(
        self,
        slots: Sequence[EnvSlot],
        interface: SpaceLayout,
        sink: ReplaySink,
        seed: int = 0,
        make_vector_env: MakeVectorEnv = SyncVectorEnv,
    ) -> None:
        self.slots, self.sink, self.seed = tuple(slots), sink, seed
        self.vector_env = make_vector_env(slots, interface)
        count = len(slots)
        self.streams: list[int] = []
        """the environments' streams, once collection has begun"""
        self.failures = 0
        """how often an environment failed so far"""
        self._no_actions = np.zeros((count, interface.action_size), np.float32)
        self._episode = np.zeros(count, np.int64)
        self._index = np.zeros(count, np.int64)
        self._rows = np.zeros(count, np.int64)
        self._score = np.zeros(count)
        self._failed_in_a_row = np.zeros(count, np.int64)
        self._reports: list[str] = []
        self._resumed: VectorStep | None = None

    def collect(self, act: ActFunction) -> CollectResult:
        """Lets `act` choose an action in each environment, writes the rows, and begins the next step everywhere.

        Raises EnvironmentFailed where one failed `MAX_FAILURES` times in a row; the rows before are kept.
        """
        if not self.streams:
            self._begin()
        step = self._resumed or self.vector_env.step_wait()
        self._resumed = None
        self._recover(step, step.failures)
        is_first = self._index == 0
        action, deter, stoch = act(step.image, step.vector, is_first, step.signals)
        rows = Rows(
            image=step.image,
            vector=step.vector,
            action=action,
            signals=step.signals,
            is_first=is_first,
            is_last=step.is_last,
            is_terminal=step.is_terminal,
            episode=self._episode,
            index=self._index,
        )
        self.sink.add(self.streams, rows, deter, stoch)
        self._rows += 1
        self._score += step.signals[:, 0]
        self._failed_in_a_row[step.is_last | (self._index >= LONG_EPISODE)] = 0
        finished = [self._finished(env) for env in np.flatnonzero(step.is_last).tolist()]
        self._index += 1
        seeds = [self._next_episode(env) if last else None for env, last in enumerate(step.is_last.tolist())]
        self.vector_env.step_async(seeds, action)
        reports, self._reports = self._reports, []
        return CollectResult(len(self.slots), len(self.slots) - len(finished), finished, reports)

    @property
    def layouts(self) -> Sequence[SpaceLayout]:
        """What each environment has of the interface."""
        return self.vector_env.layouts

    def close(self) -> None:
        """Closes the environments."""
        self.vector_env.close()

    def state(self) -> dict[str, Any]:
        """JSON-able: where every environment is; see `CollectorState`."""
        envs = [
            EnvState(
                instance=slot.instance.key,
                stream=self.streams[env],
                rows=int(self._rows[env]),
                episode=int(self._episode[env]),
                index=int(self._index[env]),
            )
            for env, slot in enumerate(self.slots[: len(self.streams)])
        ]
        return CollectorState(envs=envs).model_dump()

    def restore(self, state: Mapping[str, Any], recorded: RecordedStreams) -> list[str]:
        """Continues from `state` with the streams as `recorded`; returns in words what could not be continued.

        An open episode is rebuilt by taking its recorded actions again from its seed. Where other rows come of it than
        the recorded ones, where the stream has grown since the state was taken, or where the instance's signals or
        spaces are others now, the episode stays without an end in its stream, and the environment begins a new episode
        in a new stream.
        """
        notes = []
        steps = []
        failures: dict[int, EnvFailure] = {}
        saved = dict(enumerate(CollectorState.model_validate(state).envs))
        for env, slot in enumerate(self.slots):
            entry = saved.get(env)
            same = entry is not None and entry.instance == slot.instance.key
            step = self._resume(env, entry, recorded) if entry is not None and same else None
            if step is None:
                if entry is not None:
                    notes.append(
                        f"Environment {env} ({slot.instance.key}) begins a new episode: number {entry.episode} "
                        "could not be continued where it was. Its rows are kept."
                    )
                self.streams.append(self._open_stream(env))
                step = self.vector_env.rebuild(env, self._next_episode(env), self._no_actions[:0])
            steps.append(step)
            failures.pop(env, None)
            failures |= step.failures
        resumed = _newest(steps)
        self._recover(resumed, failures)
        self._resumed = resumed
        return notes

    def _resume(self, env: int, entry: EnvState, recorded: RecordedStreams) -> VectorStep | None:
        """The open episode up to the row not yet acted upon, if it shows what was recorded."""
        stream = entry.stream
        if recorded.stop(stream) != entry.rows or recorded.instance(stream) != self._recorded_instance(env):
            return None
        seed = episode_seed(self.seed, entry.episode)
        score = 0.0
        newest = recorded.newest_episode(stream)
        if entry.index == 0 and newest is not None and newest.is_open:
            return None
        if entry.index == 0:
            step = self.vector_env.rebuild(env, seed, self._no_actions[:0])
        else:
            episode = newest
            if episode is None or episode.id != entry.episode or len(episode) != entry.index:
                return None
            step = self.vector_env.rebuild(env, seed, episode.action)
            if not step.failures and not _shows(step, episode):
                return None
            score = float(episode.signals["reward"].sum())
        self.streams.append(stream)
        self._rows[env], self._episode[env], self._index[env] = entry.rows, entry.episode, entry.index
        self._score[env] = score
        return step

    def _recover(self, step: VectorStep, failures: Mapping[int, EnvFailure]) -> None:
        """Begins a new episode in each environment that failed, its first row in `step`."""
        waiting = dict(failures)
        while waiting:
            env = min(waiting)
            self._report(env, waiting.pop(env))
            if self._index[env] > 0:
                self.sink.end_episode(self.streams[env])
            first = self.vector_env.rebuild(env, self._next_episode(env), self._no_actions[:0])
            waiting = first.failures | waiting
            for into, row in zip(_arrays(step), _arrays(first), strict=True):
                into[env] = row[0]

    def _report(self, env: int, failure: EnvFailure) -> None:
        if not failure.own:
            return
        self.failures += 1
        self._failed_in_a_row[env] += 1
        if self._failed_in_a_row[env] >= MAX_FAILURES:
            raise EnvironmentFailed(
                f"Environment {env}, {failure.message}. That is failure {MAX_FAILURES} in a row. The rows before it "
                "are kept: fix the environment, and the same command continues."
            )
        self._reports.append(
            f"Environment {env}, {failure.message}. It was recreated and begins another episode (failure "
            f"{self.failures} of this run)."
        )

    def _begin(self) -> None:
        self.streams = [self._open_stream(env) for env in range(len(self.slots))]
        seeds = [self._next_episode(env) for env in range(len(self.slots))]
        self.vector_env.step_async(seeds, self._no_actions)

    def _recorded_instance(self, env: int) -> RecordedInstance:
        return RecordedInstance.of(self.slots[env].instance, self.vector_env.layouts[env])

    def _open_stream(self, env: int) -> int:
        self._rows[env] = 0
        return self.sink.open_stream(self._recorded_instance(env))

    def _next_episode(self, env: int) -> int:
        self._episode[env] = self.sink.new_episode()
        self._index[env] = self._score[env] = 0
        return episode_seed(self.seed, int(self._episode[env]))

    def _finished(self, env: int) -> FinishedEpisode:
        slot = self.slots[env]
        return FinishedEpisode(
            env,
            slot.policy,
            slot.instance.key,
            int(self._episode[env]),
            float(self._score[env]),
            int(self._index[env]),
            self.streams[env],
        )


def episode_seed(seed: int, episode: int) -> int:
    """The simulator's seed for a training episode: below TRAINING_SEEDS."""
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0]) % TRAINING_SEEDS


def _shows(step: VectorStep, episode: Episode) -> bool:
    """Whether the rows before the newest are those of the recorded episode."""
    image, signals = episode.image, np.stack(list(episode.signals.values()), axis=1)
    return (
        not step.is_last[:-1].any()
        and np.array_equal(step.vector[:-1], episode.vector)
        and np.array_equal(step.signals[:-1, : signals.shape[1]], signals)
        and (step.image is None or image is None or np.array_equal(step.image[:-1], image))
    )


def _arrays(step: VectorStep) -> list[npt.NDArray[Any]]:
    images = [] if step.image is None else [step.image]
    return [*images, step.vector, step.signals, step.is_last, step.is_terminal]


def _newest(steps: Sequence[VectorStep]) -> VectorStep:
    """The newest row of each environment."""
    images = [step.image[-1] for step in steps if step.image is not None]
    return VectorStep(
        image=np.stack(images) if images else None,
        vector=np.stack([step.vector[-1] for step in steps]),
        signals=np.stack([step.signals[-1] for step in steps]),
        is_last=np.array([step.is_last[-1] for step in steps]),
        is_terminal=np.array([step.is_terminal[-1] for step in steps]),
    )
