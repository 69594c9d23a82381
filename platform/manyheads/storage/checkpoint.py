"""Checkpoints: sets of tensors that belong together, named by one manifest that is replaced atomically.

Every save writes new files whose names carry the next generation, then the manifest `checkpoint.json`, then deletes
files that no manifest names any more. A crash at any moment leaves the last complete set valid. Tensors are
safetensors; nothing is ever unpickled.
"""

from __future__ import annotations

import glob
import os
import re
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from manyheads import atomic
from manyheads.errors import ManyheadsError
from manyheads.storage.manifest import FILE, FORMAT, Manifest, WorldState, digest_of, read_manifest
from manyheads.storage.upgrade import current_tensor_name

MANIFEST = FILE

__all__ = ["FORMAT", "MANIFEST", "Checkpoint"]


class Checkpoint:
    """The sets of tensors in one world folder: `world`, `learner`, `heads/<slug>/weights`, …

    `state` is a JSON-able record of everything else (counters, positions) that belongs to the same moment; see
    `WorldState`. All files are opened when the manifest is read, so that what is read later belongs together too,
    whatever another process saves meanwhile.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._manifest = Manifest(generation=0, files={})
        self._handles: dict[str, int] = {}
        weakref.finalize(self, _close_all, self._handles)
        if self.exists:
            self._open()
        elif orphan := next(filter(_later_than_first, folder.rglob("*.safetensors")), None):
            raise ManyheadsError(
                f"{folder / MANIFEST} is missing, but {orphan} was saved under it. Restore it from a copy, or move the "
                "folder away to start over."
            )
        self.state: dict[str, Any] = self._manifest.state.model_dump(mode="json", exclude_unset=True)
        self._files = dict(self._manifest.files)

    @property
    def generation(self) -> int:
        """Number of the newest save; 0 before the first."""
        return self._manifest.generation

    def generation_of(self, name: str) -> int:
        """Number of the save that wrote the set `name`."""
        return _generation(Path(self._files[name]))

    @property
    def exists(self) -> bool:
        return (self.folder / MANIFEST).exists()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the saved sets."""
        return tuple(self._files)

    def read(self, name: str) -> dict[str, Tensor]:
        """The tensors saved under `name`; raises ManyheadsError where the file is missing or damaged."""
        if name not in self._files:
            raise ManyheadsError(
                f"{self.folder} holds no saved {name!r}; it has: {', '.join(self._files) or 'nothing'}."
            )
        path = self.folder / self._files[name]
        advice = "Restore this file from a copy; the replay is not affected."
        try:
            handle = os.dup(self._handles[name]) if name in self._handles else os.open(path, os.O_RDONLY)
            with open(handle, "rb") as file:  # noqa: PTH123
                file.seek(0)
                data = file.read()
            if digest_of(data) != self._manifest.digests.get(name, digest_of(data)):
                raise ManyheadsError(f"{path} is damaged: its digest is not the one in {MANIFEST}. {advice}")
            tensors = load(data)
        except PermissionError:
            raise ManyheadsError(f"{path} can't be read: let this user read it, or read a copy of the world.") from None
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            raise ManyheadsError(f"{path} can't be read ({error}). {advice}") from None
        if _generation(path) <= self._manifest.format_1_until:
            return {current_tensor_name(key): tensor for key, tensor in tensors.items()}
        return tensors

    def forget(self, *prefixes: str) -> None:
        """Leaves sets whose names start so out of the next save."""
        self._files = {name: file for name, file in self._files.items() if not name.startswith(prefixes)}

    def write(
        self,
        sets: Mapping[str, Mapping[str, Tensor]],
        state: Mapping[str, Any],
        as_of: Mapping[str, int] | None = None,
    ) -> None:
        """Saves new versions of the given sets, keeps the other sets, and makes both valid at once.

        `as_of` has the number of the save that sets of new names count as, where they are copies of older ones.
        """
        checked = WorldState.model_validate(state)
        generation = self._manifest.generation + 1
        files, digests = dict(self._files), dict(self._manifest.digests)
        for name, tensors in sets.items():
            files[name] = f"{name}.{(as_of or {}).get(name, generation):06d}.safetensors"
            plain = {key: value.detach().to("cpu").contiguous().clone() for key, value in tensors.items()}
            digests[name] = _write(self.folder / files[name], plain)
        manifest = Manifest(
            generation=generation,
            format_1_until=self._manifest.format_1_until,
            files=files,
            digests={name: digest for name, digest in digests.items() if name in files},
            state=checked,
        )
        manifest.write(self.folder)
        self._manifest, self._files, self.state = manifest, files, dict(state)
        for name in sets:
            if name in self._handles:
                os.close(self._handles.pop(name))
        for name, file in files.items():
            current = self.folder / file
            atomic.delete_abandoned_parts(current.parent)
            for other in current.parent.glob(f"{glob.escape(Path(name).name)}.*.safetensors"):
                if other != current:
                    other.unlink(missing_ok=True)

    def _open(self) -> None:
        """Reads the manifest and opens its files; again where another process has replaced them meanwhile."""
        before = -1
        while True:
            self._manifest = read_manifest(self.folder)
            _close_all(self._handles)
            missing = False
            for name, file in self._manifest.files.items():
                try:
                    self._handles[name] = os.open(self.folder / file, os.O_RDONLY)
                except FileNotFoundError:
                    missing = True
                except OSError:
                    continue  # `read` says what is wrong, to who needs this file
            if not missing or self._manifest.generation == before:
                return
            before = self._manifest.generation


def _write(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Saves tensors atomically; returns the file's digest."""
    digests = []

    def fill(part: Path) -> None:
        _save(tensors, part)
        digests.append(digest_of(part.read_bytes()))

    atomic.write(path, fill)
    return digests[0]


def _close_all(handles: dict[str, int]) -> None:
    for name in list(handles):
        os.close(handles.pop(name))


def _later_than_first(path: Path) -> bool:
    """Whether a set of tensors was saved when a manifest was there already; a first save may have been cut short."""
    return _generation(path) > 1


def _generation(path: Path) -> int:
    """The generation in a file's name; 0 where it has none."""
    found = re.search(r"\.(\d{6,})\.safetensors$", path.name)
    return int(found[1]) if found else 0


def _save(tensors: Mapping[str, Tensor], part: Path) -> None:
    """Saves tensors; a disk that refuses is an OSError, as it is with any other file."""
    try:
        save_file(dict(tensors), part)
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        raise OSError(*((int(number[1]), os.strerror(int(number[1]))) if number else (str(error),))) from error
