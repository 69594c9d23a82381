"""The type in which a machine computes large matrix products fastest."""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["auto", "float32", "bfloat16"]

BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
"""torch's names of CPU instructions for bfloat16 products: two of x86, one of ARM"""


def has_bfloat16(device: str) -> bool:
    """Whether "cpu" or "cuda" has instructions for products in bfloat16; without them they are very slow."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in BFLOAT16)


def compute_dtype(precision: Precision, device: str) -> torch.dtype:
    """What the setting `training.precision` means on a device."""
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16(device) else "float32"
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
