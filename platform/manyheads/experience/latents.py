"""Stored latents: a rewritable side table beside the rows, recomputed where absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

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

    def encode(self, deter: Any, stoch: Any) -> Records:
        """Records (..) of latents: deter (.., D), stoch (.., G, C) one-hot; arrays or tensors."""
        deter, stoch = _array(deter), _array(stoch)
        records = np.zeros(deter.shape[:-1], self.record)
        records["deter"] = deter
        records["stoch"] = stoch[..., 0] if self.continuous else stoch.argmax(-1)
        records["valid"] = True
        return records

    def decode(self, records: Records) -> tuple[Floats, Floats]:
        """Latents (deter (.., D), stoch (.., G, C)) float32 of records (..); zeros where not valid."""
        deter = records["deter"].astype(np.float32)
        if self.continuous:
            return deter, records["stoch"].astype(np.float32)[..., None]
        stoch = records["stoch"][..., None] == np.arange(self.classes)
        return deter, (stoch & records["valid"][..., None, None]).astype(np.float32)


def _array(value: Any) -> npt.NDArray[Any]:
    return value.detach().float().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
