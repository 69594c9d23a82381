"""Reads the golden data: arrays that the official DreamerV3 code computed, under descriptive names.

The folder next to this file is read, or the one that the environment variable MANYHEADS_GOLDEN names. Tests take every
size and hyperparameter from there: from a file's metadata where it says one, from the arrays' shapes otherwise.
"""

import json
import os
import re
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from manyheads.settings import OptimizerSettings
from manyheads.world.networks import MLP, Layer
from manyheads.world.sizes import WorldSettings

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
            self.metadata: dict = {key: _parsed(value) for key, value in (file.metadata() or {}).items()}

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
    """Official parameters under our names, in our layout; the vector decoder's output maps, one a key, are one."""
    stages = len({m[1] for key in parameters if (m := re.match(r"decoder\.image\.stage(\d)", key))})
    joined: dict[str, dict[str, Tensor]] = {}
    for name, array in parameters.items():
        joined.setdefault(re.sub(r"^(decoder\.vector\.out)\.\w+\.", r"\1.", name), {})[name] = array
    arrays = {name: [maps[key] for key in sorted(maps)] for name, maps in joined.items()}
    whole = {name: maps[0] if len(maps) == 1 else torch.cat(maps, -1) for name, maps in arrays.items()}
    return {our_name(name, stages): our_layout(array) for name, array in whole.items()}


def load(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Weights under our names; every MLP first gets as many layers as they have."""
    for name, part in module.named_modules():
        if isinstance(part, MLP):
            count = len({m[1] for key in state if (m := re.match(rf"{re.escape(name)}\.?(\d+)\.linear\.bias$", key))})
            set_layers(part, count)
    module.load_state_dict(state)


def set_layers(network: MLP, count: int) -> None:
    """Adds or removes layers at the end: where the platform has a constant, a set may have another number."""
    like = network.sequence[0].linear
    units, trained = like.out_features, like.weight.requires_grad
    network.extend(Layer(units, units).requires_grad_(trained) for _ in range(count - len(network)))
    del network[count:]


def set_constant(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    """Gives a constant of the platform the set's value, in every module that has imported it."""
    for module in [*sys.modules.values()]:
        if module.__name__.startswith("manyheads.") and hasattr(module, name):
            monkeypatch.setattr(module, name, value)


def world_settings(sizes: dict, **others: object) -> WorldSettings:
    """Settings from a file's own names of sizes, in DreamerV3's variant; what is no setting of a world is left out."""
    names = {"stoch": "groups", "conv_mults": "mults"}
    named = {"vectors": "natural"} | {names.get(name, name): value for name, value in sizes.items()}
    return WorldSettings(**{name: named[name] for name in named.keys() & WorldSettings.model_fields.keys()}, **others)


def optimizer_settings(metadata: dict) -> OptimizerSettings:
    """What a file's metadata says of its optimiser, which has no weight decay."""
    assert not metadata.get("weight_decay")
    named = {{"agc_floor": "agc_pmin"}.get(name, name): value for name, value in metadata.items()}
    return OptimizerSettings(**{name: named[name] for name in named.keys() & OptimizerSettings.model_fields.keys()})


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
