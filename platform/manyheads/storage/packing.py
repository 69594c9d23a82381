"""Making a pack of heads, of a world, or of both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from manyheads import yamlfile
from manyheads.environment.adapter import FlatEnv, RowFormat
from manyheads.errors import ManyheadsError
from manyheads.settings import for_any_machine
from manyheads.storage import evaluations
from manyheads.storage.agent import LoadedWorld
from manyheads.storage.data_alone import require_data_alone, require_names_alone
from manyheads.storage.model_card import model_card
from manyheads.storage.packs import CARD, SPACES, PackedHead, PackedWorld, PackManifest, write_pack
from manyheads.storage.readouts import readout_record, readout_tensors
from manyheads.storage.versions import installed_versions
from manyheads.storage.world_folder import WORLD, WorldFolder
from manyheads.storage.world_hash import world_hash
from manyheads.task import Task


def pack(
    loaded: LoadedWorld,
    tasks: Sequence[str],
    out: Path,
    licence: str = "",
    world: bool = True,
    replay: bool = False,
) -> PackManifest:
    """Packs the heads of `tasks`, with their world unless told otherwise, and with its replay if told so.

    Raises ManyheadsError where there is nothing to pack, or a task is more than data.
    """
    folder = loaded.folder
    if not tasks and not world:
        raise ManyheadsError("There is nothing to pack: name a head, or pack the world, too.")
    if replay and not world:
        raise ManyheadsError("A replay is packed with its world, or not at all: leave out --without-world.")
    chosen = [folder.task(name) for name in tasks]
    for task in chosen:
        require_data_alone(task.content, task.name)
    for record in folder.instances if world else ():
        require_names_alone(record.environment, str(folder.path))
    parts: dict[str, bytes | Path] = {}
    for task in chosen:
        parts |= _head_parts(loaded, task)
    if world:
        settings = for_any_machine(folder.saved_settings).model_dump(mode="json")
        described = yamlfile.to_text({**folder.record(), "settings": settings, "earlier_interfaces": []})
        parts |= {WORLD: described.encode(), "world.safetensors": _saved(loaded.model.state_dict())}
        if loaded.model.readouts:
            parts["readouts.safetensors"] = _saved(readout_tensors(loaded.model, {}))
    if replay:
        files = sorted((folder.path / "replay").rglob("*"))
        kept = [file for file in files if file.suffix in (".json", ".rows")]
        parts |= {file.relative_to(folder.path).as_posix(): file for file in kept}
        if not any(file.suffix == ".rows" for file in kept):
            raise ManyheadsError(f"{folder.path} has no replay to pack; leave out --with-replay.")
    manifest = PackManifest(
        versions=installed_versions(),
        licence=licence,
        world=_world(loaded, world, replay),
        heads=[_head(folder, task) for task in chosen],
    )
    parts[CARD] = model_card(manifest, {task.name: task for task in chosen}, out.name).encode()
    return write_pack(out, manifest, dict(sorted(parts.items())))


def _head_parts(loaded: LoadedWorld, task: Task) -> dict[str, bytes | Path]:
    where, folder, checkpoint = f"heads/{task.slug}", loaded.folder, loaded.folder.checkpoint
    parts: dict[str, bytes | Path] = {
        f"{where}/task.yaml": folder.head_folder(task) / "task.yaml",
        f"{where}/weights.safetensors": _saved(loaded.head(task.name).head.state_dict()),
        f"{where}/{SPACES}": json.dumps(_spaces(folder, task)).encode(),
    }
    if f"{where}/reward" in checkpoint.names:
        parts[f"{where}/reward.safetensors"] = _saved(checkpoint.read(f"{where}/reward"))
    return parts


def _spaces(folder: WorldFolder, task: Task) -> dict[str, Any]:
    """The spaces of the task's environment: as they came with the head, else as the simulator has them."""
    path = folder.head_folder(task) / SPACES
    if path.exists():
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return RowFormat.of(record).record()
    env = FlatEnv(task.make_simulator(), task.instance.signals)
    env.close()
    return env.record()


def _head(folder: WorldFolder, task: Task) -> PackedHead:
    return PackedHead(
        name=task.name,
        slug=task.slug,
        environment=task.environment,
        goal=task.goal,
        kind=task.head,
        world_updates=int(folder.checkpoint.state["heads"][task.name]["world_updates"]),
        evaluations=[each for each in evaluations.read(folder.path) if each.task == task.name],
    )


def _world(loaded: LoadedWorld, included: bool, replay: bool) -> PackedWorld:
    folder, model = loaded.folder, loaded.model
    state = folder.checkpoint.state
    return PackedWorld(
        hash=world_hash(model.state_dict()),
        interface=folder.interface,
        included=included,
        replay=replay,
        size=folder.settings.world.size,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        steps=int(state.get("steps", 0)),
        updates=int(state.get("updates", 0)),
        environments=list(dict.fromkeys(record.environment for record in folder.instances)),
        readouts=readout_record(model) if included else {},
    )


def _saved(tensors: Mapping[str, Tensor]) -> bytes:
    data: bytes = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    return data
