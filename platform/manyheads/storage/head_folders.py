"""Heads of a world as a person tidies them: deleted, renamed, copied."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from manyheads.errors import ManyheadsError, unknown
from manyheads.experience.replay_folder import lock_folder
from manyheads.filenames import file_name
from manyheads.storage import evaluations, ledger
from manyheads.storage.world_folder import WorldFolder


def delete_head(folder: WorldFolder, name: str) -> None:
    """Deletes a head with all that belongs to it; the world model and its experience stay."""
    _require_head(folder, name)
    with lock_folder(folder.path / "replay"):
        current = WorldFolder.open(folder.path)
        state = _without(current.checkpoint.state, name)
        current.checkpoint.forget(*_prefixes(file_name(name)))
        current.checkpoint.write({}, state)
        shutil.rmtree(folder.path / "heads" / file_name(name), ignore_errors=True)
        for place in ("finetune", "best"):
            shutil.rmtree(folder.path / place / file_name(name), ignore_errors=True)
        evaluations.delete(folder.path, name)
        ledger.rename(folder.path, name, None)


def copy_head(folder: WorldFolder, name: str, new: str) -> None:
    """A second head with the weights and the task of the first, under its own name; it is fine-tuned by itself."""
    _transfer(folder, name, new, move=False)


def rename_head(folder: WorldFolder, name: str, new: str) -> None:
    """Gives a head another name; a run of several tasks continues with it under that name."""
    _transfer(folder, name, new, move=True)


def foreign_folders(folder: WorldFolder) -> list[str]:
    """Folders under `heads/` that belong to no head, as one that was copied there by hand."""
    place = folder.path / "heads"
    known = {file_name(name) for name in folder.heads}
    if not place.is_dir():
        return []
    return sorted(each.name for each in place.iterdir() if each.is_dir() and each.name not in known)


def foreign_words(folder: WorldFolder) -> str:
    """What to do with folders that belong to no head; empty without any."""
    found = foreign_folders(folder)
    if not found:
        return ""
    paths = ", ".join(str(folder.path / "heads" / name) for name in found)
    return (
        f"No head of {folder.path}: {paths}. Copied folders are not taken in: `manyheads head copy` makes a second "
        "head, `manyheads finetune` one of a task file. Delete what is left over."
    )


def _transfer(folder: WorldFolder, name: str, new: str, move: bool) -> None:
    _require_head(folder, name)
    if not new.strip() or len(new) > 200 or "\\" in new or new.startswith("/") or ".." in new.split("/"):
        raise ManyheadsError(f"{new!r} is not a name for a head; expected one like dmc/walker-walk_fast, or park2.")
    if new in folder.heads or (folder.path / "heads" / file_name(new)).exists():
        raise ManyheadsError(f"{folder.path} has a head {new!r} already; take another name, or delete that one first.")
    with lock_folder(folder.path / "replay"):
        current = WorldFolder.open(folder.path)
        checkpoint, old_slug, slug = current.checkpoint, file_name(name), file_name(new)
        own = {one: p for p in _prefixes(old_slug) for one in checkpoint.names if one.startswith(p)}
        joint = [one for one in checkpoint.names if one.startswith("train/")] if move else []
        if any(current.interface_of(one) != current.interface for one in joint):
            raise ManyheadsError(
                f"{folder.path} has grown since it was trained last. Train it on once, then its heads get other names."
            )
        names = {one: one.replace(prefix, prefix.replace(old_slug, slug), 1) for one, prefix in own.items()}
        sets = {names.get(one, one): _named(checkpoint.read(one), name, new) for one in (*own, *joint)}
        as_of = {names[one]: checkpoint.generation_of(one) for one in own}
        state = _with(checkpoint.state, name, new, move)
        (folder.path / "heads" / slug).mkdir(parents=True)
        for file in sorted((folder.path / "heads" / old_slug).iterdir()):
            if file.suffix != ".safetensors":
                shutil.copy2(file, folder.path / "heads" / slug / file.name)
        if move:
            state = _without(state, name)
            checkpoint.forget(*_prefixes(old_slug))
        checkpoint.write(sets, state, as_of)
        if move:
            for place in ("heads", "finetune", "best"):
                shutil.rmtree(folder.path / place / old_slug, ignore_errors=True)
            evaluations.delete(folder.path, name)
            ledger.rename(folder.path, name, new)


def _named(tensors: Mapping[str, Tensor], name: str, new: str) -> dict[str, Tensor]:
    """Tensors whose names begin with the head's, under its new name."""
    found = {}
    for key, tensor in tensors.items():
        for place in ("", "state/"):
            if key.startswith(f"{place}{name}/"):
                key = f"{place}{new}/{key.removeprefix(f'{place}{name}/')}"
        found[key] = tensor
    return found


def _prefixes(slug: str) -> tuple[str, ...]:
    """How the names of a head's sets of tensors begin."""
    return f"heads/{slug}/", f"best/{slug}/", f"finetune/{slug}/"


def _without(state: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The checkpoint's record without a head."""
    found = {**state, "heads": {k: v for k, v in state.get("heads", {}).items() if k != name}}
    found["runs"] = {k: v for k, v in state.get("runs", {}).items() if k != f"finetune/{file_name(name)}"}
    if name in state.get("best", {}):
        found["best"] = {k: v for k, v in state["best"].items() if k != name}
    return found


def _with(state: Mapping[str, Any], name: str, new: str, move: bool) -> dict[str, Any]:
    """The checkpoint's record with a second head that has the first one's entries."""
    record, run = dict(state["heads"][name]), f"finetune/{file_name(name)}"
    runs = dict(state.get("runs", {}))
    if run in runs:
        runs[f"finetune/{file_name(new)}"] = {**runs[run], "tasks": [new]}
    if record["run"] == run:
        record["run"] = f"finetune/{file_name(new)}"
    if move and name in runs.get("train", {}).get("tasks", []):
        runs["train"] = {**runs["train"], "tasks": [new if each == name else each for each in runs["train"]["tasks"]]}
    found = {**state, "runs": runs, "heads": {**state["heads"], new: record}}
    if name in state.get("best", {}):
        found["best"] = {**state["best"], new: state["best"][name]}
    return found


def _require_head(folder: WorldFolder, name: str) -> None:
    if name not in folder.heads:
        raise unknown(f"head in {folder.path}", name, folder.heads)
