"""Checkpoints: sets of tensors that belong together, named by one manifest that is replaced atomically.

Every save writes new files whose names carry the next generation, then the manifest `checkpoint.json`, then deletes
files that no manifest names any more. A crash at any moment leaves the last complete set in force. Tensors are
safetensors; nothing is ever unpickled.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from manyheads import atomic
from manyheads.errors import ManyheadsError
from manyheads.storage.upgrade import current_tensor_name, upgrade_manifest

FORMAT = 2
MANIFEST = "checkpoint.json"


class Checkpoint:
    """The sets of tensors in one world folder: `world`, `learner`, `heads/<slug>/weights`, …

    `state` is a JSON-able record of everything else (counters, positions) that belongs to the same moment.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._generation = 0
        self._files: dict[str, str] = {}
        self._format_1_until = 0
        self.state: dict[str, Any] = {}
        if self.exists:
            manifest = atomic.read_json(folder / MANIFEST)
            atomic.check_format(folder / MANIFEST, manifest, FORMAT)
            manifest = upgrade_manifest(manifest)
            self._generation = int(manifest["generation"])
            self._format_1_until = int(manifest.get("format_1_until", 0))
            self._files = dict(manifest["files"])
            self.state = dict(manifest["state"])
        elif orphan := next(filter(_later_than_first, folder.rglob("*.safetensors")), None):
            raise ManyheadsError(
                f"{folder / MANIFEST} is missing, but {orphan} was saved under it. Restore it from a copy, or move the "
                "folder away to begin anew."
            )

    @property
    def generation(self) -> int:
        """Number of the save in force; 0 before the first."""
        return self._generation

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
        try:
            path.open("rb").close()  # says what is wrong where safetensors does not
            tensors = load_file(path)
        except PermissionError:
            raise ManyheadsError(f"{path} can't be read: let this user read it, or read a copy of the world.") from None
        except (OSError, SafetensorError) as error:
            raise ManyheadsError(
                f"{path} can't be read ({error}). Restore this file from a copy; the replay beside it is not affected."
            ) from None

        if _generation(path) <= self._format_1_until:
            return {current_tensor_name(key): tensor for key, tensor in tensors.items()}
        return tensors

    def forget(self, *prefixes: str) -> None:
        """Leaves sets whose names start so out of the next save."""
        self._files = {name: file for name, file in self._files.items() if not name.startswith(prefixes)}

    def write(self, sets: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
        """Saves new versions of the given sets, keeps the other sets, and puts both in force at once."""
        self._generation += 1
        files = dict(self._files)
        for name, tensors in sets.items():
            files[name] = f"{name}.{self._generation:06d}.safetensors"
            plain = {key: value.detach().to("cpu").contiguous().clone() for key, value in tensors.items()}
            atomic.write(self.folder / files[name], lambda part, plain=plain: _save(plain, part))  # type: ignore[misc]
        manifest = {
            "format": FORMAT,
            "generation": self._generation,
            "format_1_until": self._format_1_until,
            "files": files,
            "state": dict(state),
        }
        atomic.write_json(self.folder / MANIFEST, manifest)
        self._files, self.state = files, dict(state)
        for name, file in files.items():
            current = self.folder / file
            for other in current.parent.glob(f"{Path(name).name}.*.safetensors"):
                if other != current:
                    other.unlink(missing_ok=True)


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
