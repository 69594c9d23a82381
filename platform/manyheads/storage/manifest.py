"""`checkpoint.json`: which files of a world are valid, their digests, and the counters of its runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from manyheads import atomic
from manyheads.environment.contract import Kind
from manyheads.errors import ManyheadsError
from manyheads.run_states import CollectorState, ReplayState
from manyheads.storage.upgrade import upgrade_manifest

FORMAT = 3
FILE = "checkpoint.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RunState(_Part):
    """Where one run is: joint training, or one head's fine-tuning."""

    steps: int = Field(ge=0)
    updates: int = Field(ge=0)
    update_credit: float
    tasks: list[str]
    threads: int | None = None
    """CPU threads that it computed with last; with others, numbers may differ in their last digits"""
    replay: ReplayState
    collector: CollectorState | None = None


class HeadRecord(_Part):
    """How a head was trained last."""

    world_updates: int
    """the world model's updates at that time"""
    run: str


class BestRecord(_Part):
    """The best evaluation of a head while it trained; the world and the head as they were then are saved next to it."""

    steps: int
    updates: int
    """of the run that trained it"""
    mean_return: float
    episodes: int


class ReadoutRecord(_Part):
    """Which signals a readout predicts, and how well."""

    signals: dict[str, Kind]
    error: dict[str, float | None]
    """mean squared error over variance; None where it is not finite"""


class WorldState(_Part):
    """Counters of the world model, and of each run, head and readout by name."""

    steps: int = 0
    updates: int = 0
    runs: dict[str, RunState] = Field(default_factory=dict)
    heads: dict[str, HeadRecord] = Field(default_factory=dict)
    readouts: dict[str, ReadoutRecord] = Field(default_factory=dict)
    """by dynamics key"""
    best: dict[str, BestRecord] = Field(default_factory=dict)
    """by head, for those that were evaluated while they trained"""


class Manifest(_Part):
    """The manifest; `digest` is of everything else in it."""

    format: int = FORMAT
    generation: int = Field(ge=0)
    format_1_until: int = 0
    """files up to this generation have the tensors' names of format 1"""
    files: dict[str, str]
    """each set of tensors by name"""
    digests: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of each set's file; older files may have none"""
    state: WorldState = Field(default_factory=WorldState)
    digest: str = ""

    def write(self, folder: Path) -> None:
        """Puts the manifest into force."""
        values = self.model_dump(mode="json", exclude={"digest"}, exclude_unset=True) | {"format": FORMAT}
        atomic.write_json(folder / FILE, values | {"digest": manifest_digest(values)})


def read_manifest(folder: Path) -> Manifest:
    """A world's manifest; raises ManyheadsError naming the key where it is damaged, or newer than this program."""
    path = folder / FILE
    manifest = atomic.read_model(path, Manifest, FORMAT, upgrade_manifest)
    values = atomic.read_json(path)
    if values["format"] >= FORMAT and manifest_digest(values) != manifest.digest:
        raise ManyheadsError(
            f"{path} is damaged or was edited: digest: it is not that of the file's content. Restore it from a copy."
        )
    return manifest


def digest_of(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def manifest_digest(values: Mapping[str, Any]) -> str:
    """The digest of a manifest's values but for `digest` itself."""
    rest = {key: value for key, value in values.items() if key != "digest"}
    return digest_of(json.dumps(rest, sort_keys=True).encode())
