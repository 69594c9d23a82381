"""Stored latents: a rewritable side table beside the rows, recomputed where absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Records = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


class PackedLatents(NamedTuple):
    """Latents as short as replay keeps them."""

    deter: Tensor
    """(.., D) half precision"""
    stoch: Tensor
    """(.., G) the class of each group; gaussian: its number, half precision"""


@dataclass(frozen=True)
class LatentLayout:
    """The size of a world's latent: `deter` numbers and `groups` one-hot vectors of `classes`.

    With one class a group is a plain number (a Gaussian latent) instead of a one-hot vector.
    """

    deter: int
    groups: int
    classes: int

    @property
    def is_gaussian(self) -> bool:
        return self.classes == 1

    @property
    def record(self) -> np.dtype[Any]:
        """One row of the table: half-precision `deter`, the class of each group, whether it is `valid`."""
        stoch = "<f2" if self.is_gaussian else ("<u1" if self.classes <= 256 else "<u2")
        return np.dtype([("deter", "<f2", (self.deter,)), ("stoch", stoch, (self.groups,)), ("valid", "?")])

    def pack(self, deter: Any, stoch: Any) -> PackedLatents:
        """Latents deter (.., D), stoch (.., G, C) one-hot, arrays or tensors, as records keep them; on their device."""
        deter, stoch = torch.as_tensor(deter).detach(), torch.as_tensor(stoch).detach()
        if self.is_gaussian:
            return PackedLatents(deter.half(), stoch[..., 0].half())
        return PackedLatents(deter.half(), stoch.argmax(-1).to(torch.uint8 if self.classes <= 256 else torch.int32))

    def encode(self, latents: PackedLatents) -> Records:
        """Records (..) of latents."""
        records = np.empty(latents.deter.shape[:-1], self.record)
        records["deter"], records["stoch"] = (part.cpu().numpy() for part in latents)
        records["valid"] = True
        return records

    def decode(self, records: Records) -> tuple[Floats, Floats]:
        """Latents (deter (.., D), stoch (.., G, C)) float32 of records (..); zeros where not valid."""
        deter = records["deter"].astype(np.float32)
        if self.is_gaussian:
            return deter, records["stoch"].astype(np.float32)[..., None]
        stoch = records["stoch"][..., None] == np.arange(self.classes)
        return deter, (stoch & records["valid"][..., None, None]).astype(np.float32)
