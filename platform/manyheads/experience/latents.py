"""Stored latents: a rewritable side table beside the rows, recomputed where absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Records = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LatentLayout:
    """The size of a world's latent: `deter` numbers and `groups` one-hot vectors of `classes`.

    With one class a group is a plain number (a Gaussian latent) instead of a one-hot vector.
    """

    deter: int
    groups: int
    classes: int

    @property
    def continuous(self) -> bool:
        return self.classes == 1

    @property
    def record(self) -> np.dtype[Any]:
        """One row of the table: half-precision `deter`, the class of each group, whether it is `valid`."""
        stoch = "<f2" if self.continuous else ("<u1" if self.classes <= 256 else "<u2")
        return np.dtype([("deter", "<f2", (self.deter,)), ("stoch", stoch, (self.groups,)), ("valid", "?")])

    def shorten(self, deter: Tensor, stoch: Tensor) -> tuple[Tensor, Tensor]:
        """What a record keeps of latents (.., D), (.., G, C) one-hot, on their device: half-precision `deter`, and the
        class of each group (.., G)."""
        if self.continuous:
            return deter.half(), stoch[..., 0].half()
        return deter.half(), stoch.argmax(-1).to(torch.uint8 if self.classes <= 256 else torch.int32)

    def encode(self, deter: Any, stoch: Any) -> Records:
        """Records (..) of latents (.., D), (.., G, C) one-hot, or as `shorten` has them; arrays or tensors."""
        deter, stoch = (torch.as_tensor(x).detach().cpu() for x in (deter, stoch))
        if stoch.dim() > deter.dim():
            deter, stoch = self.shorten(deter, stoch)
        records = np.empty(deter.shape[:-1], self.record)
        records["deter"], records["stoch"], records["valid"] = deter.numpy(), stoch.numpy(), True
        return records

    def decode(self, records: Records) -> tuple[Floats, Floats]:
        """Latents (deter (.., D), stoch (.., G, C)) float32 of records (..); zeros where not valid."""
        deter = records["deter"].astype(np.float32)
        if self.continuous:
            return deter, records["stoch"].astype(np.float32)[..., None]
        stoch = records["stoch"][..., None] == np.arange(self.classes)
        return deter, (stoch & records["valid"][..., None, None]).astype(np.float32)
