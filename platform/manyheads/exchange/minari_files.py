"""Minari data sets on disk: found by folder or id, opened with what goes wrong in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyheads.errors import ManyheadsError
from manyheads.imports import missing_modules

if TYPE_CHECKING:
    from minari import MinariDataset

INSTANCE = "manyheads"
"""key of a data set's metadata: which environment with which options, and its signals, wrote it"""
PREFIX = "minari:"


def require_minari(doing: str) -> None:
    """Raises ManyheadsError with the extra to install where Minari is missing."""
    if missing := missing_modules(("minari", "h5py")):
        raise ManyheadsError(
            f"{doing} needs {' and '.join(missing)}, not installed here. Install with "
            "`pip install 'manyheads[minari]'`."
        )


def open_dataset(source: str) -> MinariDataset:
    """The data set `minari:FOLDER` or `minari:ID`; an id that is not on this machine is fetched by Minari.

    Raises ManyheadsError where there is none, it can't be read, or there is no network.
    """
    if not source.startswith(PREFIX) or source == PREFIX:
        raise ManyheadsError(f"{source!r} is not a data set: expected {PREFIX}FOLDER or {PREFIX}ID.")
    require_minari("Importing")
    import minari

    name = source.removeprefix(PREFIX)
    try:
        for folder in (Path(name) / "data", Path(name)):
            if (folder / "metadata.json").exists():
                return minari.MinariDataset(folder)
        if Path(name).exists():
            raise ManyheadsError(f"{name} holds no Minari data set: metadata.json is missing.")
        return minari.load_dataset(name, download=True)
    except ManyheadsError:
        raise
    except Exception as error:  # whatever Minari, HDF5 or a download raises
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ManyheadsError(
            f"The data set {name} can't be read: {reason}. Is it the folder of a data set, or an id of Minari's "
            "(`minari list remote`), and is there a network?"
        ) from None


def metadata(dataset: MinariDataset) -> dict[str, Any]:
    """What the data set says of itself."""
    found: dict[str, Any] = dataset.storage.metadata
    return found
