"""`manyheads export --minari`: what replay holds as Minari data sets, one for each instance."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector.utils import concatenate, create_empty_array

from manyheads.environment.adapter import FlatEnv, LayoutMap
from manyheads.environment.contract import Instance
from manyheads.environment.unflatten import ObservationUnflattener
from manyheads.errors import ManyheadsError
from manyheads.exchange.minari_files import INSTANCE, require_minari
from manyheads.experience.recorded_episode import Episode
from manyheads.experience.replay import Replay
from manyheads.filenames import file_name
from manyheads.storage.world_folder import WorldFolder


def export_minari(world: WorldFolder, folder: Path, advance: Callable[[int], None] = lambda rows: None) -> list[Path]:
    """Writes a data set for each instance with rows, in `folder` or, where there are several, in folders below it.

    Observations and actions are native; `infos` has `signals`, and `flat_action`, the actions as they were sampled, so
    that importing gives the same rows. An episode that is still open ends truncated. Raises ManyheadsError where minari
    is missing, there is nothing to write, or the folder is taken.
    """
    require_minari("Exporting")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ManyheadsError(f"{folder} is there already. Choose a new folder, or move that one away.")
    replay = world.replay(read_only=True)
    by_instance: dict[str, list[Episode]] = {}
    for episode in replay.episodes():
        if len(episode) > 1:
            by_instance.setdefault(episode.instance.key, []).append(episode)
    if not by_instance:
        raise ManyheadsError(f"{world.path} has recorded no episode yet. `manyheads train {world.path}` records some.")
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        names = []
        for number, (key, episodes) in enumerate(by_instance.items()):
            name = f"{number:02d}-{file_name(key.partition(' ')[0])}" if len(by_instance) > 1 else "."
            _write(world, replay, _instance(world, key), episodes, part / name, advance)
            names.append(name)
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return [folder / name for name in names]


def _instance(world: WorldFolder, key: str) -> Instance:
    found = [record.instance() for record in world.instances]
    for instance in found:
        if instance.key == key:
            return instance
    name, _, options = key.partition(" ")
    for instance in found:
        if instance.environment.name == name:
            return instance.environment.instance(json.loads(options))
    raise ManyheadsError(f"{world.path} has rows of {key}, which it was not made for. Its folder was edited.")


def _write(
    world: WorldFolder,
    replay: Replay,
    instance: Instance,
    episodes: Sequence[Episode],
    folder: Path,
    advance: Callable[[int], None],
) -> None:
    import minari
    from minari.dataset.minari_storage import MinariStorage

    env = FlatEnv(instance.make(), instance.signals)
    try:
        layout_map, unflatten = LayoutMap(world.interface, env.layout), ObservationUnflattener(env.observe, clip=False)
        data = folder / "data"
        data.mkdir(parents=True)
        storage = MinariStorage.new(data, unflatten.space, env.action_space, data_format="hdf5", jpeg_encoding=False)

        def buffers() -> Iterator[Any]:
            for episode in episodes:
                yield _buffer(episode, env, layout_map, unflatten)
                advance(len(episode))

        storage.update_episodes(buffers())
        storage.update_metadata(
            {
                "dataset_id": f"manyheads/{file_name(instance.environment.name)}-v0",
                "minari_version": minari.__version__,
                "algorithm_name": "manyheads",
                "description": f"Episodes of {instance.key} that the world {world.path.name} recorded.",
                INSTANCE: {
                    "environment": instance.environment.name,
                    "options": instance.options.model_dump(mode="json"),
                    "signals": [signal.name for signal in instance.signals],
                },
            }
        )
    finally:
        env.close()


def _buffer(episode: Episode, env: FlatEnv, layout_map: LayoutMap, unflatten: ObservationUnflattener) -> Any:
    """One episode of T rows: T observations, T - 1 actions."""
    from minari.data_collector.episode_buffer import EpisodeBuffer

    images, vectors = episode.image, layout_map.unmap_vector(episode.vector)
    channels = None if env.layout.image is None else env.layout.image[2]
    own = (
        [None if images is None or channels is None else image[..., :channels] for image in images]
        if (images is not None)
        else [None] * len(vectors)
    )
    seen = [unflatten(image, vector) for image, vector in zip(own, vectors, strict=True)]
    flat = layout_map.unmap_action(episode.action)
    taken = [env.act(action) for action in flat[:-1]]
    last, terminal = episode.is_last.copy(), episode.is_terminal
    last[-1] = True
    signals = episode.signals
    return EpisodeBuffer(
        observations=_stacked(unflatten.space, seen),
        actions=_stacked(env.action_space, taken),
        rewards=signals["reward"][1:].tolist(),
        terminations=terminal[1:].tolist(),
        truncations=(last & ~terminal)[1:].tolist(),
        infos={"signals": signals, "flat_action": flat},
    )


def _stacked(space: Any, values: Sequence[Any]) -> Any:
    """Values of a space as one of arrays (T, ...), as data sets hold them."""
    room: Any = create_empty_array(space, len(values), fn=np.empty)
    return concatenate(space, values, room)
