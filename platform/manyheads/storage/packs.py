"""A pack: heads, and perhaps their world, in one file that is data alone; each part is checked against its digest.

A zip archive of `pack.json` (see `PackManifest`), `README.md` (the model card), `world.yaml`, `world.safetensors`,
`readouts.safetensors`, `heads/SLUG/` (`task.yaml`, `spaces.json`, `weights.safetensors`, perhaps `reward.safetensors`)
and perhaps `replay/`.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from manyheads import atomic
from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.storage.evaluations import Evaluation
from manyheads.storage.manifest import ReadoutRecord, digest_of, manifest_digest

FORMAT = 1
FILE = "pack.json"
CARD = "README.md"
SPACES = "spaces.json"
"""next to a head: the spaces of its environment, so that it acts without the simulator"""
SUFFIX = ".pack"
AGAIN = "Get it again from whoever made it."


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PackedHead(_Part):
    """One head: what it does, and how well it did it."""

    name: str
    slug: str
    environment: str
    goal: str
    kind: str
    world_updates: int
    evaluations: list[Evaluation]
    """of random actions and of the head on the same reserved seeds; none where it was never played"""


class PackedWorld(_Part):
    """The world that the heads belong to."""

    hash: str
    interface: SpaceLayout
    included: bool
    replay: bool
    size: str
    parameters: int
    steps: int
    updates: int
    environments: list[str]
    readouts: dict[str, ReadoutRecord] = {}


class PackManifest(_Part):
    """`pack.json`; `digest` is of everything else in it."""

    format: int = FORMAT
    versions: dict[str, str]
    """of manyheads, Python and the packages that results depend on"""
    licence: str
    world: PackedWorld
    heads: list[PackedHead]
    files: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of each file"""
    digest: str = ""


class Pack:
    """A pack on disk, its manifest checked. Use `Pack.open`; every part is checked when it is read."""

    def __init__(self, path: Path, manifest: PackManifest) -> None:
        self.path, self.manifest = path, manifest

    @classmethod
    def open(cls, path: str | Path) -> Pack:
        """Reads the manifest; raises ManyheadsError where the file is not a pack, was changed, or is newer."""
        path = Path(path)
        if not path.is_file():
            raise ManyheadsError(f"There is no pack {path}. `manyheads pack WORLD --out {path}` makes one.")
        try:
            with zipfile.ZipFile(path) as archive:
                values = json.loads(archive.read(FILE))
                names = [info.filename for info in archive.infolist()]
        except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise ManyheadsError(f"{path} is not a pack, or was cut short: {error}. {AGAIN}") from None
        except OSError as error:
            raise ManyheadsError(f"{path} can't be read: {error.strerror}. Let this user read it.") from None
        atomic.check_format(path, values, FORMAT)
        manifest = atomic.check(path, values, PackManifest, AGAIN)
        if manifest.digest != manifest_digest(values):
            raise ManyheadsError(f"{path} was changed after it was packed: {FILE} is not what was written. {AGAIN}")
        if sorted(names) != sorted([FILE, *manifest.files]):
            odd = sorted({*names} ^ {FILE, *manifest.files}) or [name for name in names if names.count(name) > 1]
            raise ManyheadsError(f"{path} was changed after it was packed: {odd[0]!r} came or went. {AGAIN}")
        for name in manifest.files:
            if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or "\0" in name:
                raise ManyheadsError(f"{path} names a file {name!r}, which would lie outside its folder. {AGAIN}")
        return cls(path, manifest)

    def read(self, name: str) -> bytes:
        """A part of the pack; raises ManyheadsError where it is not what was packed."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                data = archive.read(name)
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise ManyheadsError(f"{self.path}: {name} can't be read: {error}. {AGAIN}") from None
        if digest_of(data) != self.manifest.files[name]:
            raise ManyheadsError(f"{self.path} was changed after it was packed: {name} is another one. {AGAIN}")
        return data

    def below(self, folder: str) -> Iterator[str]:
        """Names of the parts in a folder of the pack."""
        return (name for name in self.manifest.files if name.startswith(f"{folder}/"))


def write_pack(path: Path, manifest: PackManifest, parts: Mapping[str, bytes | Path]) -> PackManifest:
    """Writes a pack atomically from parts, bytes or files; equal parts give equal bytes."""
    digests = {name: digest_of(_data(part)) for name, part in parts.items()}
    values = manifest.model_copy(update={"files": digests}).model_dump(mode="json", exclude={"digest"})
    values["digest"] = manifest_digest(values)

    def fill(part: Path) -> None:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.writestr(zipfile.ZipInfo(FILE), json.dumps(values, indent=1) + "\n", zipfile.ZIP_DEFLATED)
            for name, data in parts.items():
                archive.writestr(zipfile.ZipInfo(name), _data(data), zipfile.ZIP_DEFLATED)

    atomic.write(path, fill)
    return PackManifest.model_validate(values)


def _data(part: bytes | Path) -> bytes:
    return part if isinstance(part, bytes) else part.read_bytes()
