"""What writers of a golden set share: official names for our parameters, random arrays, files."""

import json
import re
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from manyheads.heads.predictors import TwoHotHead

_OFFICIAL = [
    (r"^continues\.", "continue."),
    (r"^return_scale\.", "return_norm."),
    (r"^actor\.(mean|std|logits)\.", r"actor.out_\1."),
    (r"_layers\.(\d)", r".layer\1"),
    (r"\.layers\.(\d)", r".layer\1"),
    (r"_logits\.(weight|bias)$", r".logits.\1"),
    (r"^actor\.out\.logits", "actor.out_logits"),
    (r"^encoder\.vector\.(\d)", r"encoder.vector.layer\1"),
    (r"^encoder\.image\.(\d)", r"encoder.image.stage\1"),
    (r"^decoder\.vector\.out\.", "decoder.vector.out.vector."),
    (r"^decoder\.image\.norm\.", "decoder.image.space.norm."),
    (r"^rssm\.core\.norm\.", "rssm.core.block_hidden.norm."),
    (r"^(\d)\.", r"layer\1."),
    (r"\.(linear|conv)\.(weight|bias)$", r".\2"),
    (r"norm\.weight$", "norm_scale"),
    (r"weight$", "kernel"),
]


def official_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our parameters under official names, in official layout: the inverse of `our_state`."""
    stages = len({m[1] for key in state if (m := re.match(r"decoder\.image\.stages\.(\d)", key))})
    official = {}
    for name, array in state.items():
        name = re.sub(r"^(decoder\.image\.)stages\.(\d)", lambda m: f"{m[1]}stage{stages - 1 - int(m[2])}", name)
        for pattern, replacement in _OFFICIAL:
            name = re.sub(pattern, replacement, name)
        official[name] = array.permute(2, 3, 1, 0) if array.ndim == 4 else array.T if array.ndim == 2 else array
    return official


def under(prefix: str, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """The arrays with a prefix to their names."""
    return {prefix + name: array for name, array in arrays.items()}


def randomize(module: nn.Module) -> None:
    """Weights of which none is zero, gains around one; expected values that are not huge."""
    for name, parameter in module.named_parameters():
        gain = name.endswith("norm.weight")
        scale = 0.2 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
        parameter.data = gain + scale * torch.randn_like(parameter)
    for part in module.modules():
        if isinstance(part, TwoHotHead):  # whose outer bins are so large that rounding would be all that is left
            part.out.bias.data -= 30 * torch.linspace(-1, 1, len(part.bins)).abs()


def parameters_of(module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """A module's weights under official names."""
    return official_state(under(prefix, {name: p.detach() for name, p in module.state_dict().items()}))


def gradients_of(module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """Its gradients, likewise, where it has any."""
    own = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    return official_state(under(prefix, own))


def one_hot(*shape: int) -> Tensor:
    """Random one-hot arrays of this shape."""
    return F.one_hot(torch.randint(shape[-1], shape[:-1]), shape[-1]).float()


def flags(*shape: int, share: float = 0.3) -> Tensor:
    """Random bytes of 0 and 1."""
    return (torch.rand(shape) < share).byte()


def image(*shape: int) -> Tensor:
    """Random pixels."""
    return torch.randint(256, shape, dtype=torch.uint8)


def save(folder: Path, name: str, arrays: dict[str, Tensor], **metadata: object) -> None:
    """One file; its metadata are strings, as safetensors has them."""
    stored = {key: array.detach().clone().contiguous() for key, array in arrays.items()}
    save_file(stored, folder / f"{name}.safetensors", {key: json.dumps(value) for key, value in metadata.items()})
