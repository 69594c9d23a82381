"""Which type a machine's large products are quickest in."""

from __future__ import annotations

import torch

from manyheads.learning.settings import Precision

BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
"""what torch calls a CPU's instructions for it: x86's two, ARM's"""


def multiplies_bfloat16(device: str) -> bool:
    """Whether "cpu" or "cuda" has instructions for products in bfloat16; without them they are very slow."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in BFLOAT16)


def product_type(precision: Precision, device: str) -> torch.dtype:
    """What the setting `training.precision` means on a device."""
    if precision == "auto":
        precision = "bfloat16" if multiplies_bfloat16(device) else "float32"
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
