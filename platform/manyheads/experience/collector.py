"""The collector: lets policies act in all slots in lock-step and writes down every row with honest flags."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from manyheads.environment.layout import SpaceLayout
from manyheads.experience.chunk import Rows
from manyheads.experience.recorded_episode import Episode
from manyheads.experience.replay import Replay
from manyheads.experience.stream import RecordedInstance
from manyheads.experience.subproc_vector_env import SubprocVectorEnv
from manyheads.experience.vector_env import EnvSlot, Floats, SyncVectorEnv, VectorEnv, VectorStep

TRAINING_SEEDS = 10_000_000
"""Seeds of training episodes lie below; evaluation's are reserved from here on."""


ActFunction = Callable[
    [npt.NDArray[np.uint8] | None, Floats, npt.NDArray[np.bool_], npt.NDArray[np.float64]], tuple[Floats, Any, Any]
]
"""What acts in all N slots: from image (N, H, W, C) or None, vector (N, V), first (N,) and signals (N, S) to flat
actions (N, A), unclipped, and the latents deter (N, D), stoch (N, G, C) after seeing, or None twice.
Where `is_first`, what it remembers is void."""


@dataclass(frozen=True)
class FinishedEpisode:
    """An episode that ended."""

    slot: int
    policy: str
    instance: str
    episode: int
    score: float
    """sum of the simulator's own reward"""
    length: int
    """steps taken"""


@dataclass(frozen=True)
class CollectResult:
    """What one call of `collect` brought."""

    rows: int
    steps: int
    """environment steps: rows less those that ended an episode, whose actions are not carried out"""
    finished: list[FinishedEpisode]


class Collector:
    """Steps all slots in lock-step; each has a stream of its own in replay.

    Every row is written when it has been acted upon. The row with `is_last` holds the final observation of an
    episode; its action is not carried out, and the next row is the `is_first` of a new episode, whose seed
    follows from the run's seed and the episode's number alone. With workers the environments step while the
    caller does other things between two calls; the rows are the same.
    """

    def __init__(
        self,
        slots: Sequence[EnvSlot],
        interface: SpaceLayout,
        replay: Replay,
        seed: int = 0,
        workers: int = 0,
    ) -> None:
        self.slots, self.replay, self.seed = tuple(slots), replay, seed
        self._simulators: VectorEnv = (
            SubprocVectorEnv(slots, interface, workers) if workers else SyncVectorEnv(slots, interface)
        )
        count = len(slots)
        self.streams: list[int] = []
        """the slots' streams in replay, once collection has begun"""
        self._no_actions = np.zeros((count, interface.action_size), np.float32)
        self._episode = np.zeros(count, np.int64)
        self._index = np.zeros(count, np.int64)
        self._score = np.zeros(count)
        self._rebuilt: VectorStep | None = None

    def collect(self, act: ActFunction) -> CollectResult:
        """Lets `act` choose an action in each slot, writes the rows, and takes the next step everywhere."""
        if not self.streams:
            self._begin()
        seen = self._rebuilt or self._simulators.step_wait()
        self._rebuilt = None
        is_first = self._index == 0
        action, deter, stoch = act(seen.image, seen.vector, is_first, seen.signals)
        rows = Rows(
            image=seen.image,
            vector=seen.vector,
            action=action,
            signals=seen.signals,
            is_first=is_first,
            is_last=seen.is_last,
            is_terminal=seen.is_terminal,
            episode=self._episode,
            index=self._index,
        )
        self.replay.add(self.streams, rows, deter, stoch)
        self._score += seen.signals[:, 0]
        finished = [self._finished(slot) for slot in np.flatnonzero(seen.is_last).tolist()]
        self._index += 1
        seeds = [self._next_episode(slot) if last else None for slot, last in enumerate(seen.is_last.tolist())]
        self._simulators.step_async(seeds, action)
        return CollectResult(len(self.slots), len(self.slots) - len(finished), finished)

    def close(self) -> None:
        """Ends the environments."""
        self._simulators.close()

    def state(self) -> dict[str, Any]:
        """JSON-able: where every slot stands."""
        return {
            "slots": [
                {
                    "instance": slot.instance.key,
                    "stream": stream,
                    "rows": self.replay.stop(stream),
                    "episode": int(episode),
                    "index": int(index),
                }
                for slot, stream, episode, index in zip(
                    self.slots, self.streams, self._episode, self._index, strict=bool(self.streams)
                )
            ]
        }

    def restore(self, state: Mapping[str, Any]) -> list[str]:
        """Goes on from `state`, after `Replay.restore`; returns in words what could not be taken up again.

        An open episode is rebuilt by taking its recorded actions again from its seed. Where that shows other
        rows than the recorded ones, or the stream has grown since the state was taken, the episode stays
        without an end in its stream, and the slot begins a new episode in a new stream.
        """
        notes = []
        shown = []
        saved = dict(enumerate(state["slots"]))
        for slot, bound in enumerate(self.slots):
            entry = saved.get(slot)
            row = self._resume(slot, entry) if entry and entry["instance"] == bound.instance.key else None
            if row is None:
                if entry:
                    notes.append(
                        f"Slot {slot} ({bound.instance.key}) begins a new episode: number {entry['episode']} "
                        "could not be taken up where it was. Its rows are kept."
                    )
                self.streams.append(self._open_stream(slot))
                row = self._simulators.rebuild(slot, self._next_episode(slot), self._no_actions[:0])
            shown.append(row)
        self._rebuilt = _newest(shown)
        return notes

    def _resume(self, slot: int, entry: Mapping[str, Any]) -> VectorStep | None:
        """The slot's open episode up to the row not yet acted upon, if it shows what was recorded."""
        stream = entry["stream"]
        if self.replay.stop(stream) != entry["rows"]:
            return None
        seed = episode_seed(self.seed, entry["episode"])
        score = 0.0
        if entry["index"] == 0:
            seen = self._simulators.rebuild(slot, seed, self._no_actions[:0])
        else:
            episode = self.replay.newest_episode(stream)
            if episode is None or episode.id != entry["episode"]:
                return None
            seen = self._simulators.rebuild(slot, seed, episode.action)
            if not _shows(seen, episode):
                return None
            score = float(episode.signals["reward"].sum())
        self.streams.append(stream)
        self._episode[slot], self._index[slot], self._score[slot] = entry["episode"], entry["index"], score
        return seen

    def _begin(self) -> None:
        self.streams = [self._open_stream(slot) for slot in range(len(self.slots))]
        seeds = [self._next_episode(slot) for slot in range(len(self.slots))]
        self._simulators.step_async(seeds, self._no_actions)

    def _open_stream(self, slot: int) -> int:
        return self.replay.open_stream(RecordedInstance.of(self.slots[slot].instance, self._simulators.layouts[slot]))

    def _next_episode(self, slot: int) -> int:
        self._episode[slot] = self.replay.new_episode()
        self._index[slot] = self._score[slot] = 0
        return episode_seed(self.seed, int(self._episode[slot]))

    def _finished(self, slot: int) -> FinishedEpisode:
        bound = self.slots[slot]
        return FinishedEpisode(
            slot,
            bound.policy,
            bound.instance.key,
            int(self._episode[slot]),
            float(self._score[slot]),
            int(self._index[slot]),
        )


def episode_seed(seed: int, episode: int) -> int:
    """The simulator's seed for a training episode: below TRAINING_SEEDS."""
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0]) % TRAINING_SEEDS


def _shows(seen: VectorStep, episode: Episode) -> bool:
    """Whether the rows before the newest are those of the recorded episode."""
    image, signals = episode.image, np.stack(list(episode.signals.values()), axis=1)
    return (
        not seen.is_last[:-1].any()
        and np.array_equal(seen.vector[:-1], episode.vector)
        and np.array_equal(seen.signals[:-1, : signals.shape[1]], signals)
        and (seen.image is None or image is None or np.array_equal(seen.image[:-1], image))
    )


def _newest(shown: Sequence[VectorStep]) -> VectorStep:
    """The newest row of each slot."""
    images = [seen.image[-1] for seen in shown if seen.image is not None]
    return VectorStep(
        image=np.stack(images) if images else None,
        vector=np.stack([seen.vector[-1] for seen in shown]),
        signals=np.stack([seen.signals[-1] for seen in shown]),
        is_last=np.array([seen.is_last[-1] for seen in shown]),
        is_terminal=np.array([seen.is_terminal[-1] for seen in shown]),
    )
