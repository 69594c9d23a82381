"""The folder that is shown: which worlds are in it, and that no request leads out of it."""

from __future__ import annotations

import os
from pathlib import Path

from manyheads.storage.world_folder import WORLD, WorldFolder
from manyheads_web.problems import Gone, Outside

DEEP = 4
"""folders between the one that is shown and a world"""


class Shown:
    """A folder and its worlds. A world's name is its path from the folder on; `.` is the folder itself."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def worlds(self) -> dict[str, Path]:
        """Each world's path by its name, in order; what can't be read is left out."""
        found: dict[str, Path] = {}
        self._look(self.root, 0, found)
        return dict(sorted(found.items()))

    def path(self, name: str) -> Path:
        """A world's path; raises Outside or Gone."""
        path = self.inside(name)
        if not (path / WORLD).is_file():
            raise Gone(f"There is no world {name!r} in {self.root} any more: it was deleted, moved or renamed.")
        return path

    def inside(self, name: str) -> Path:
        """A path in the folder, links followed; raises Outside for any other."""
        try:
            path = (self.root / name).resolve()
        except (OSError, ValueError, RuntimeError):
            raise Outside(f"{name!r} is not a path in {self.root}.") from None
        if not path.is_relative_to(self.root):
            raise Outside(f"{name!r} lies outside of {self.root}. This page shows that folder alone.")
        return path

    def open(self, name: str) -> WorldFolder:
        """A world's folder; raises ManyheadsError where it can't be read."""
        return WorldFolder.open(self.path(name))

    def title(self, name: str) -> str:
        """What the world is called on the page."""
        return self.root.name if name == "." else name

    def _look(self, folder: Path, deep: int, found: dict[str, Path]) -> None:
        if (folder / WORLD).is_file():
            found[folder.relative_to(self.root).as_posix()] = folder
            return
        try:
            inner = [entry for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")]
        except OSError:
            return
        for entry in inner:
            path = folder / entry.name
            if deep < DEEP and path.resolve().is_relative_to(self.root):
                self._look(path, deep + 1, found)
