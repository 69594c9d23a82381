"""Worlds that come with manyheads: found by their names, unpacked once into the user's data folder."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from manyheads.storage.packs import SUFFIX, Pack
from manyheads.storage.unpacking import open_pack, unpack
from manyheads.storage.world_folder import WORLD, WorldFolder


def packaged_worlds() -> dict[str, Path]:
    """Their packs by name."""
    folder = Path(str(files("manyheads"))) / "worlds"
    return {path.name.removesuffix(SUFFIX): path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def world_path(path: str | Path) -> Path:
    """The folder of a world that is named by its path, or, where nothing lies there, of a packaged one by its name.

    A packaged world is the user's own from then on: heads that it gains stay.
    """
    path = Path(path)
    pack = packaged_worlds().get(str(path))
    if pack is None or path.exists():
        return path
    folder = data_folder() / "worlds" / f"{path}-{Pack.open(pack).manifest.digest[:12]}"
    if not (folder / WORLD).exists():
        unpack(Pack.open(pack), folder)
    return folder


def world_folder(path: str | Path) -> WorldFolder:
    """The world that a path or a packaged world's name stands for; a pack is unpacked once, into the user's cache."""
    path = world_path(path)
    return open_pack(path) if path.is_file() else WorldFolder.open(path)


def data_folder() -> Path:
    """Where the user's own data of manyheads is kept: XDG_DATA_HOME, or ~/.local/share."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "manyheads"
