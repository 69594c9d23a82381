"""Reads the golden data: arrays that the official DreamerV3 code computed, under descriptive names.

The folder beside this file is read, or the one that the environment variable MANYHEADS_GOLDEN names.
"""

import json
import os
import re
from functools import cache
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

FOLDER = Path(os.environ.get("MANYHEADS_GOLDEN") or Path(__file__).parent / "golden")

_RENAMES = [
    (r"^continue\.", "continues."),
    (r"^return_norm\.", "return_scale."),
    (r"^actor\.out_mean", "actor.mean"),
    (r"^actor\.out_std", "actor.std"),
    (r"^actor\.out_logits", "actor.logits"),
    (r"^(rssm)\.(posterior|prior)\.layer", r"\1.\2_layers."),
    (r"^(rssm)\.(posterior|prior)\.logits", r"\1.\2_logits"),
    (r"^encoder\.vector\.layer", "encoder.vector."),
    (r"^decoder\.vector\.out\.vector", "decoder.vector.out"),
    (r"^decoder\.image\.space\.norm_scale", "decoder.image.norm.weight"),
    (r"^rssm\.core\.block_hidden\.norm_scale", "rssm.core.norm.weight"),
    (r"^layer(\d)", r"\1"),
    (r"\.layer(\d)", r".layers.\1"),
    (r"((?:^|layers\.|_layers\.|vector\.)\d|\.from_\w+|\.stoch_hidden)\.(kernel|bias)$", r"\1.linear.\2"),
    (r"^encoder\.image\.stage(\d)", r"encoder.image.\1"),
    (r"(image\.\d)\.(kernel|bias)$", r"\1.conv.\2"),
    (r"\.norm_scale$", ".norm.weight"),
    (r"\.kernel$", ".weight"),
]


class Golden(dict[str, Tensor]):
    """All arrays of one file by name; `metadata` are its hyperparameters."""

    def __init__(self, name: str) -> None:
        with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
            super().__init__({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
            self.metadata = {key: _parsed(value) for key, value in (file.metadata() or {}).items()}

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The arrays whose name starts with `prefix`, without it."""
        return {key.removeprefix(prefix): value for key, value in self.items() if key.startswith(prefix)}


@cache
def golden(name: str) -> Golden:
    """One file, read once."""
    return Golden(name)


def parameter_counts() -> dict[str, dict]:
    """What `params.json` says."""
    return json.loads((FOLDER / "params.json").read_text())


def our_name(name: str, stages: int = 0) -> str:
    """Our state's name for a parameter; the official decoder counts its `stages` from the image inwards."""
    name = re.sub(
        r"^decoder\.image\.stage(\d)\.(kernel|bias)",
        lambda m: f"decoder.image.stages.{stages - 1 - int(m[1])}.conv.{m[2]}",
        name,
    )
    name = re.sub(r"^decoder\.image\.stage(\d)", lambda m: f"decoder.image.stages.{stages - 1 - int(m[1])}", name)
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def our_layout(array: Tensor) -> Tensor:
    """Linear kernels are stored as (in, out), convolutions as (height, width, in, out)."""
    if array.ndim == 4:
        return array.permute(3, 2, 0, 1)
    return array.T if array.ndim == 2 else array


def our_state(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Official parameters under our names, in our layout."""
    stages = len({m[1] for key in parameters if (m := re.match(r"decoder\.image\.stage(\d)", key))})
    return {our_name(name, stages): our_layout(array) for name, array in parameters.items()}


def close(actual: Tensor, expected: Tensor, rtol: float = 1e-5, of_largest: float = 1e-5) -> None:
    """Asserts nearness, relative to each entry and to the largest finite one."""
    finite = expected[expected.isfinite()].abs()
    atol = of_largest * float(finite.max()) if finite.numel() else 0.0
    torch.testing.assert_close(actual.detach(), expected, rtol=rtol, atol=max(atol, 3e-6 * of_largest / 1e-5))


def _parsed(value: str) -> object:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
