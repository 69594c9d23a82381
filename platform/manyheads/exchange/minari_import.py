"""`manyheads import`: a Minari data set's episodes as rows of a world's replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector.utils import iterate

from manyheads.environment.adapter import FlatEnv, LayoutMap, RowFormat
from manyheads.environment.contract import Instance
from manyheads.environment.space_json import space_to_json
from manyheads.errors import ManyheadsError
from manyheads.exchange.minari_files import INSTANCE, metadata
from manyheads.experience.records import Rows
from manyheads.experience.replay import Replay
from manyheads.experience.stream import RecordedInstance
from manyheads.registry import registry

if TYPE_CHECKING:
    from minari import MinariDataset
    from minari.dataset.episode_data import EpisodeData

DATA = "minari/data"
"""the environment of a data set whose simulator is not asked"""
ALIKE = 1e-4
"""largest difference between a recorded and a replayed number"""


@dataclass(frozen=True)
class Source:
    """Whose episodes a data set holds, and where their signals come from."""

    instance: Instance
    signals: str
    """`recorded`, `replayed` (measured by the environment itself) or `observed` (the numbers of the observation)"""


def source_of(dataset: MinariDataset, environment: str | None, options: Mapping[str, Any]) -> Source:
    """The environment that the user names, else the one that the data set was written by, else recorded data alone.

    Raises ManyheadsError where a named environment's spaces don't fit, or its signals can't be had.
    """
    written = metadata(dataset).get(INSTANCE)
    if environment is None and written is not None and written["environment"] in registry().environments:
        instance = registry().environments[written["environment"]].instance(written["options"])
        if written["signals"] == [signal.name for signal in instance.signals]:
            return Source(instance, "recorded")
    if environment is None or environment == DATA:
        spaces = {
            "observation": space_to_json(dataset.observation_space),
            "action": space_to_json(dataset.action_space),
        }
        return Source(registry().environments[DATA].instance({"dataset": dataset.id, **spaces}), "observed")
    instance = registry().environments[environment].instance(options)
    names = {signal.name for signal in instance.signals}
    _require_fit(dataset, instance)
    infos = next(iter(dataset)).infos or {}
    return Source(instance, "recorded" if names <= {*infos.get("signals", {}), "reward"} else "replayed")


def _require_fit(dataset: MinariDataset, instance: Instance) -> None:
    """Raises ManyheadsError where the data set's rows have other entries than the environment's."""
    env = FlatEnv(instance.make(), instance.signals)
    env.close()
    recorded = RowFormat(dataset.observation_space, dataset.action_space, dataset.id, keys=env.keys)
    for what in ("image", "vector", "continuous", "discrete"):
        own, theirs = (getattr(each.layout.shared(), what) for each in (env, recorded))
        if own != theirs:
            raise ManyheadsError(
                f"{dataset.id} does not fit {instance.environment.name}: its {what} entries are {_brief(theirs)}, "
                f"those of the environment {_brief(own)}. Name the environment and options that wrote it, or leave out "
                "--environment to take the data as it is."
            )


class Importer:
    """Writes episodes into a replay, whose interface has the entries of the source's rows."""

    def __init__(self, dataset: MinariDataset, source: Source, replay: Replay) -> None:
        self.dataset, self.source, self.replay = dataset, source, replay
        instance = source.instance
        self.env = FlatEnv(instance.make(), instance.signals)
        self.format = RowFormat(dataset.observation_space, dataset.action_space, dataset.id, keys=self.env.keys)
        self.layout_map = LayoutMap(replay.interface, self.env.layout)

    def run(self, advance: Callable[[int], None] = lambda rows: None) -> int:
        """All episodes; returns how many rows. Raises ManyheadsError where one does not fit; those before are kept."""
        recorded = RecordedInstance.of(self.source.instance, self.env.layout)
        stream, total = self.replay.open_stream(recorded), 0
        try:
            for number, episode in zip(count(), self.dataset, strict=False):
                total += self._add(stream, episode, number)
                advance(len(episode) + 1)
        finally:
            self.replay.close_stream(stream)
            self.env.close()
        return total

    def _add(self, stream: int, episode: EpisodeData, number: int) -> int:
        rows = [*self._rows(episode, number)]
        identity = self.replay.new_episode()
        for row in rows:
            self.replay.add([stream], Rows(**row, episode=np.array([identity])))
        return len(rows)

    def _rows(self, episode: EpisodeData, number: int) -> Iterator[dict[str, Any]]:
        """The columns of each row but for its episode."""
        length = len(episode) + 1
        observed = [self.format.observe(each) for each in _values(self.dataset.observation_space, episode.observations)]
        if len(observed) != length:
            raise ManyheadsError(
                f"Episode {number} of {self.dataset.id} has {len(observed)} observations for {length - 1} actions; "
                "expected one more. Export it again with the last observation."
            )
        actions = self._actions(episode, length)
        signals = self._signals(episode, observed, number)
        last = np.append(False, episode.terminations | episode.truncations)
        last[-1] = True
        terminal = np.append(False, episode.terminations)
        for t in range(length):
            image = self.layout_map.map_image(observed[t][0])
            yield {
                "image": None if image is None else image[None],
                "vector": self.layout_map.map_vector(observed[t][1])[None],
                "action": self.layout_map.map_action(actions[t])[None],
                "signals": signals[t][None],
                "is_first": np.array([t == 0]),
                "is_last": last[t : t + 1],
                "is_terminal": terminal[t : t + 1],
                "index": np.array([t]),
            }

    def _actions(self, episode: EpisodeData, length: int) -> npt.NDArray[np.float32]:
        """(T, a): as they were sampled, where the data set has that; the last row's is never carried out."""
        size = self.env.layout.action_size
        flat = (episode.infos or {}).get("flat_action")
        if self.source.signals == "recorded" and flat is not None and np.shape(flat) == (length, size):
            return np.asarray(flat, np.float32)
        taken = [self.format.act.flatten(each) for each in _values(self.dataset.action_space, episode.actions)]
        return np.stack([*taken, np.zeros(size, np.float32)])

    def _signals(self, episode: EpisodeData, observed: list[Any], number: int) -> npt.NDArray[np.float64]:
        """(T, S) in the order of the instance's signals."""
        names = [signal.name for signal in self.source.instance.signals]
        reward = np.append(0.0, np.asarray(episode.rewards, np.float64))
        if self.source.signals == "observed":
            columns = np.stack([vector for _, vector in observed]).astype(np.float64)
            return np.concatenate([reward[:, None], columns], 1)
        if self.source.signals == "recorded":
            stored = {"reward": reward, **(episode.infos or {})["signals"]}
            return np.stack([np.asarray(stored[name], np.float64) for name in names], 1)
        return self._replayed(episode, observed, number)

    def _replayed(self, episode: EpisodeData, observed: list[Any], number: int) -> npt.NDArray[np.float64]:
        """What the environment measures as the recorded actions are taken again; refused where it shows other rows."""
        [about] = self.dataset.storage.get_episode_metadata([int(episode.id)])
        seed = about.get("seed")
        if seed is None:
            raise self._not_replayed(number, "the data set does not say which seed it began with")
        rows = [self.env.reset(int(seed))]
        for action in _values(self.dataset.action_space, episode.actions):
            rows.append(self.env.step(self.format.act.flatten(action))[0])
        for t, (row, (image, vector)) in enumerate(zip(rows, observed, strict=True)):
            seen, kept = (np.zeros(0) if each is None else each for each in (row.image, image))
            if not np.allclose(row.vector, vector, atol=ALIKE) or not np.array_equal(seen, kept):
                raise self._not_replayed(number, f"row {t} shows something else than was recorded")
        return np.stack([row.signals for row in rows])

    def _not_replayed(self, number: int, reason: str) -> ManyheadsError:
        return ManyheadsError(
            f"Episode {number} of {self.dataset.id} can't be replayed in {self.source.instance.environment.name} to "
            f"measure its signals: {reason}. Leave out --environment: what was observed is then what is measured."
        )


def _values(space: Any, batched: Any) -> Iterator[Any]:
    """The values, one after the other, of arrays (T, ...) of a space."""
    from gymnasium.vector.utils import batch_space

    first = batched
    while isinstance(first, (dict, tuple)):
        first = next(iter(first.values())) if isinstance(first, dict) else first[0]
    return iter(iterate(batch_space(space, len(first)), batched))


def _brief(entries: Any) -> str:
    if not isinstance(entries, tuple):
        return "none" if entries is None else str(entries)
    names = [str(each) for each in entries]
    return f"{len(names)} ({', '.join(names[:6])}{', …' if len(names) > 6 else ''})" if names else "none"
