"""Stored latents: a rewritable side table of the rows. What a world did not write is never taken for its own."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Records = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

MISSING, TRAINING = 0, 1
"""tags of a row without a latent, and of a latent that a world in training wrote; others are checksums"""


class PackedLatents(NamedTuple):
    """Latents in replay's short form."""

    deter: Tensor
    """(.., D) half precision"""
    stoch: Tensor
    """(.., G) the class of each group; gaussian: its number, half precision"""


@dataclass(frozen=True)
class LatentLayout:
    """The size of a world's latent: `deter` numbers and `groups` one-hot vectors of `classes`.

    With one class a group is a plain number (a Gaussian latent) instead of a one-hot vector.

    Each record has a `tag`. A world in training moves with every update, so what it wrote is tagged `TRAINING`: good
    enough to start a window from. A frozen world has a number (`world_id`), and the tag is a checksum of the latent
    that starts from that number: it fits only what this world wrote, whole.
    """

    deter: int
    groups: int
    classes: int

    @property
    def is_gaussian(self) -> bool:
        return self.classes == 1

    @property
    def record(self) -> np.dtype[Any]:
        """One row of the table: its `tag`, half-precision `deter`, the class of each group."""
        stoch = "<f2" if self.is_gaussian else ("<u1" if self.classes <= 256 else "<u2")
        return np.dtype([("tag", "<u4"), ("deter", "<f2", (self.deter,)), ("stoch", stoch, (self.groups,))])

    def pack(self, deter: Any, stoch: Any) -> PackedLatents:
        """Latents deter (.., D), stoch (.., G, C) one-hot, arrays or tensors, as records have them; on their device."""
        deter, stoch = torch.as_tensor(deter).detach(), torch.as_tensor(stoch).detach()
        if self.is_gaussian:
            return PackedLatents(deter.half(), stoch[..., 0].half())
        return PackedLatents(deter.half(), stoch.argmax(-1).to(torch.uint8 if self.classes <= 256 else torch.int32))

    def encode(self, latents: PackedLatents, world_id: int | None = None) -> Records:
        """Records (..) of latents, by a world in training (None) or the frozen world of that number."""
        records = np.empty(latents.deter.shape[:-1], self.record)
        records["deter"], records["stoch"] = (part.cpu().numpy() for part in latents)
        records["tag"] = TRAINING if world_id is None else _checksums(records, world_id)
        return records

    def decode(self, records: Records) -> tuple[Floats, Floats]:
        """Latents (deter (.., D), stoch (.., G, C)) float32 of records (..); zeros where they are missing."""
        usable = self.usable(records)
        deter = np.where(usable[..., None], records["deter"], 0).astype(np.float32)
        if self.is_gaussian:
            return deter, np.where(usable[..., None], records["stoch"], 0).astype(np.float32)[..., None]
        stoch = records["stoch"][..., None] == np.arange(self.classes)
        return deter, (stoch & usable[..., None, None]).astype(np.float32)

    def usable(self, records: Records) -> npt.NDArray[np.bool_]:
        """Which records (..) a window may start from: a latent is there, and all its numbers are finite."""
        finite = np.isfinite(records["deter"]).all(-1)
        if self.is_gaussian:
            finite &= np.isfinite(records["stoch"]).all(-1)
        return np.asarray((records["tag"] != MISSING) & finite)

    def written_by(self, records: Records, world_id: int) -> npt.NDArray[np.bool_]:
        """Which records (..) hold exactly what the frozen world of that number wrote."""
        return np.asarray(records["tag"] == _checksums(records, world_id))


def _checksums(records: Records, world_id: int) -> npt.NDArray[np.uint32]:
    """CRC-32 of each record behind its tag, starting from the world's number; never the tag of anything else."""
    width = records.dtype.itemsize
    data = memoryview(np.ascontiguousarray(records).tobytes())
    checks = [zlib.crc32(data[at + 4 : at + width], world_id) for at in range(0, len(data), width)]
    return np.maximum(np.array(checks, np.uint32), TRAINING + 1).reshape(records.shape)
