"""Opening a pack: as a new world folder, or as heads that join the world they belong to."""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from manyheads import atomic, yamlfile
from manyheads.errors import ManyheadsError
from manyheads.filenames import file_name
from manyheads.storage import evaluations
from manyheads.storage.data_alone import require_data_alone, require_names_alone
from manyheads.storage.packs import AGAIN, SPACES, Pack, PackedHead
from manyheads.storage.readouts import READOUTS
from manyheads.storage.world_folder import WORLD, WorldFolder
from manyheads.storage.world_hash import world_hash
from manyheads.task import TaskFile

NEVER = 0
"""updates of a world that heads were not trained with: they are stale there"""


def unpack(pack: Pack, folder: Path, adapt: bool = False) -> WorldFolder:
    """The pack's world with its heads in a new folder; its heads alone where the folder holds their world already.

    With `adapt` heads join another world, too: stale there, and what fine-tuning begins with. Raises ManyheadsError,
    with nothing changed, where the pack was changed, belongs to another world, or has a head that is there already.
    """
    if (folder / WORLD).exists():
        return _join(pack, WorldFolder.open(folder), adapt)
    if not pack.manifest.world.included:
        raise ManyheadsError(
            f"{pack.path} has heads without their world, {_short(pack.manifest.world.hash)}. Name the folder of that "
            f"world: `manyheads unpack {pack.path} WORLD`."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ManyheadsError(f"{folder} is there already and holds no world. Choose a new folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        _fill(pack, part)
        if folder.exists():
            folder.rmdir()
        try:
            part.rename(folder)
        except OSError:
            if not (folder / WORLD).exists():  # else another process has just unpacked the same
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return WorldFolder.open(folder)


def open_pack(path: Path) -> WorldFolder:
    """A pack's world, unpacked once into the user's cache, under the pack's digest."""
    pack = Pack.open(path)
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "manyheads" / "packs"
    folder = root / pack.manifest.digest[:32]
    return WorldFolder.open(folder) if (folder / WORLD).exists() else unpack(pack, folder)


def _fill(pack: Pack, folder: Path) -> None:
    """Writes world and heads into a new folder."""
    world = pack.manifest.world
    sets: dict[str, dict[str, Tensor]] = {"world": _tensors(pack, "world.safetensors")}
    if world_hash(sets["world"]) != world.hash:
        raise ManyheadsError(f"{pack.path}: its world is not {_short(world.hash)}, as it says. {AGAIN}")
    if "readouts.safetensors" in pack.manifest.files:
        sets[READOUTS] = _tensors(pack, "readouts.safetensors")
    for name in (WORLD, *pack.below("replay")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(pack.read(name))
    opened = WorldFolder.open(folder)
    for record in opened.instances:
        require_names_alone(record.environment, str(pack.path))
    state: dict[str, Any] = {"steps": world.steps, "updates": world.updates, "heads": {}}
    if READOUTS in sets:
        state["readouts"] = {key: record.model_dump(mode="json") for key, record in world.readouts.items()}
    for head in pack.manifest.heads:
        _add_head(pack, head, folder, sets, state)
    opened.checkpoint.write(sets, state)
    _keep_evaluations(pack, folder)


def _join(pack: Pack, folder: WorldFolder, adapt: bool) -> WorldFolder:
    """Adds the pack's heads to the world that they belong to, or to another one that they shall adapt to."""
    from manyheads.experience.replay_folder import lock_folder

    with lock_folder(folder.path / "replay"):
        world, found = pack.manifest.world, world_hash(folder.checkpoint.read("world"))
        at_home = (found, folder.interface) == (world.hash, world.interface)
        if not (at_home or adapt):
            raise ManyheadsError(
                f"The heads of {pack.path} belong to the world {_short(world.hash)}; {folder.path} is {_short(found)}, "
                "and there they would act blindly. Unpack them where their world is, or into a new folder if it is "
                "packed. With --adapt they join as what `manyheads finetune` begins with."
            )
        if taken := [head.name for head in pack.manifest.heads if head.name in folder.heads]:
            raise ManyheadsError(
                f"{folder.path} has a head named {taken[0]} already. To replace it, delete its folder in "
                f"{folder.path / 'heads'} first."
            )
        sets: dict[str, dict[str, Tensor]] = {}
        state = {**folder.checkpoint.state, "heads": {**folder.checkpoint.state.get("heads", {})}}
        adapted = {} if at_home else {head.name: _adapted(pack, head, folder) for head in pack.manifest.heads}
        for head in pack.manifest.heads:
            _add_head(pack, head, folder.path, sets, state)
        for name, tensors in adapted.items():
            where = f"heads/{file_name(name)}"
            sets[f"{where}/weights"] = tensors
            sets.pop(f"{where}/reward", None)  # was fitted to the latents of its own world
            state["heads"][name]["world_updates"] = NEVER
        folder.checkpoint.write(sets, state)
        if at_home:
            _keep_evaluations(pack, folder.path)
    return WorldFolder.open(folder.path)


def _adapted(pack: Pack, head: PackedHead, folder: WorldFolder) -> dict[str, Tensor]:
    """A head's weights as another world's heads have them.

    Raises ManyheadsError where that world does not know the task's environment, has other sizes, or lacks an entry.
    """
    from manyheads.storage.agent import build_head, load, load_by_name

    saved = pack.manifest.world.interface
    if folder.interface.union(saved) != folder.interface:
        raise ManyheadsError(
            f"{head.name} can't be adapted to {folder.path}, which lacks entries of its world. `manyheads train "
            f"{folder.path} TASK` with tasks of {', '.join(pack.manifest.world.environments)} adds them."
        )
    task = _task_file(pack, head).resolve(head.name)
    folder.record_of(task.instance)
    module = build_head(task, load(folder.path).model, folder)
    tensors = _tensors(pack, f"heads/{head.slug}/weights.safetensors")
    reason = f"Heads can't adapt to a world of other sizes: train a new one, `manyheads finetune {folder.path} TASK`."
    load_by_name(module, tensors, saved, folder.interface, f"{pack.path}: {head.name}", reason)
    return module.state_dict()


def _add_head(
    pack: Pack, head: PackedHead, folder: Path, sets: dict[str, dict[str, Tensor]], state: dict[str, Any]
) -> None:
    """Writes a head's task and spaces, and adds its tensors and record to what is to be saved."""
    where = f"heads/{head.slug}"
    _ = _task_file(pack, head)  # before anything is written
    atomic.write_text(folder / where / "task.yaml", _text(pack, f"{where}/task.yaml"))
    atomic.write_text(folder / where / SPACES, _text(pack, f"{where}/{SPACES}"))
    for part in ("weights", "reward"):
        if f"{where}/{part}.safetensors" in pack.manifest.files:
            sets[f"{where}/{part}"] = _tensors(pack, f"{where}/{part}.safetensors")
    state["heads"][head.name] = {"world_updates": head.world_updates, "run": "train"}


def _task_file(pack: Pack, head: PackedHead) -> TaskFile:
    """A head's task; raises ManyheadsError where it is more than data."""
    text = _text(pack, f"heads/{head.slug}/task.yaml")
    task = yamlfile.read_text(text, pack.path / "heads" / head.slug / "task.yaml").check(TaskFile)
    require_data_alone(task, head.name)
    return task


def _text(pack: Pack, name: str) -> str:
    return pack.read(name).decode("utf-8", "replace")


def _keep_evaluations(pack: Pack, folder: Path) -> None:
    saved = WorldFolder.open(folder).checkpoint.generation
    results = [replace(each, saved=saved) for head in pack.manifest.heads for each in head.evaluations]
    if results:
        evaluations.save(folder, results)


def _tensors(pack: Pack, name: str) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_tensors(pack.read(name))
    except (SafetensorError, ValueError) as error:
        raise ManyheadsError(f"{pack.path}: {name} holds no tensors: {error}. {AGAIN}") from None
    return tensors


def _short(digest: str) -> str:
    return digest[:12]
