"""Observations to tokens: an MLP over the vector, convolutions over the image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.world.distributions import symlog
from manyheads.world.grow import LayoutAxis, channel_entries, present_with, vector_entries
from manyheads.world.networks import MLP, Convolution, RMSNorm, max_pool
from manyheads.world.sizes import WorldSettings

VECTOR_LAYERS = 3


class EncoderStage(nn.Module):
    """Convolution, 2 x 2 max pooling, norm, SiLU: (N, H, W, C) to (N, H / 2, W / 2, C')."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = Convolution(inputs, outputs, kernel)
        self.norm = RMSNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        pooled = max_pool(self.conv.product(x))  # the bias, common to four pixels, can wait
        return F.silu(self.norm(pooled.to(self.conv.bias.dtype) + self.conv.bias)).to(x.dtype)


class Encoder(nn.Module):
    """Tokens (..., E): features of the vector, then of the image (flattened as height, width, channel)."""

    def __init__(self, interface: SpaceLayout, settings: WorldSettings) -> None:
        super().__init__()
        self.size = len(token_entries(interface, settings))
        self.vector: MLP | None = None
        self.image: nn.Sequential | None = None
        if interface.vector:
            self.vector = MLP(len(interface.vector), settings.units, VECTOR_LAYERS)
        if interface.image:
            depths = [interface.image[2], *(settings.depth * mult for mult in settings.mults)]
            stages = pairwise(depths)
            self.image = nn.Sequential(*(EncoderStage(i, o, settings.kernel) for i, o in stages))

    def layout_axes(self) -> Mapping[str, LayoutAxis]:
        axes: dict[str, LayoutAxis] = {}
        if self.vector is not None:
            axes |= present_with(vector_entries, "vector", self.vector)
            axes["vector.0.linear.weight"] = LayoutAxis(1, vector_entries)
        if self.image is not None:
            axes |= present_with(channel_entries, "image", self.image)
            axes["image.0.conv.weight"] = LayoutAxis(1, channel_entries)
        return axes

    def forward(
        self,
        image: Tensor | None,
        vector: Tensor,
        dtype: torch.dtype = torch.float32,
        pictured: Tensor | None = None,
    ) -> Tensor:
        """image (..., H, W, C) uint8, vector (..., V) before symlog; computed in `dtype`. With `pictured` (P,) the
        images are of these entries of the first axis, and the last of them is blank, as all other entries are."""
        tokens = []
        if self.vector is not None:
            tokens.append(self.vector(symlog(vector).to(dtype)))
        if self.image is not None:
            if image is None:
                raise ManyheadsError("This world's interface has an image, but no image was given.")
            flat = image.flatten(0, -4).float() / 255 - 0.5
            seen = self.image(flat.to(dtype)).reshape(*image.shape[:-3], -1)
            if pictured is not None:
                seen = seen[-1:].expand(len(vector), *seen.shape[1:]).index_copy(0, pictured, seen)
            tokens.append(seen)
        return torch.cat(tokens, -1)


def token_entries(interface: SpaceLayout, settings: WorldSettings) -> Sequence[Hashable]:
    """Names of the encoder's tokens, in order."""
    vector = settings.units if interface.vector else 0
    image = prod(smallest_image(interface.image, settings)) if interface.image else 0
    return [*(("vector", i) for i in range(vector)), *(("image", i) for i in range(image))]


def smallest_image(image: tuple[int, int, int], settings: WorldSettings) -> tuple[int, int, int]:
    """Height, width and channels after the last stage; raises where the image can't be halved that often."""
    height, width, _ = image
    factor = 2 ** len(settings.mults)
    if height % factor or width % factor:
        raise ManyheadsError(
            f"Images of {height} x {width} pixels can't be halved {len(settings.mults)} times: choose a "
            f"height and a width that are multiples of {factor}, or fewer entries in world.mults."
        )
    return height // factor, width // factor, settings.depth * settings.mults[-1]
