"""Latents to observations: a raw symlog vector, an image between 0 and 1."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.world.encoder import VECTOR_LAYERS, smallest_image
from manyheads.world.grow import LayoutAxis, channel_entries, present_with, vector_entries
from manyheads.world.networks import (
    MLP,
    BlockLinear,
    DoublingConvolution,
    Layer,
    Linear,
    RMSNorm,
)
from manyheads.world.rssm import Latent
from manyheads.world.sizes import WorldSettings

SPACE_BLOCKS = 8


class VectorDecoder(nn.Module):
    """(..., V) in symlog space."""

    def __init__(self, settings: WorldSettings, outputs: int) -> None:
        super().__init__()
        self.layers = MLP(settings.feature_size, settings.units, VECTOR_LAYERS)
        self.out = Linear(settings.units, outputs)

    def forward(self, latent: Latent) -> Tensor:
        # stoch first, unlike the heads: as the official decoder reads it
        feature = torch.cat([latent.stoch.flatten(-2), latent.deter.to(latent.stoch.dtype)], -1)
        vector: Tensor = self.out(self.layers(feature))
        return vector


class DecoderStage(nn.Module):
    """Doubles the image, then convolution, norm, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = DoublingConvolution(inputs, outputs, kernel)
        self.norm = RMSNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.norm(self.conv(x))).to(x.dtype)


class ImageDecoder(nn.Module):
    """(..., H, W, C) raw; a sigmoid makes the image."""

    def __init__(self, settings: WorldSettings, image: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = smallest_image(image, settings)
        height, width, channels = self.shape
        if channels % SPACE_BLOCKS:
            raise ManyheadsError(
                f"depth x last entry of mults = {channels} must be a multiple of {SPACE_BLOCKS} to decode "
                "images; change world.depth or world.mults."
            )
        space = height * width * channels
        self.deter_to_space = BlockLinear(settings.deter, space, SPACE_BLOCKS)
        self.stoch_hidden = Layer(settings.groups * settings.classes, 2 * settings.units)
        self.stoch_to_space = Linear(2 * settings.units, space)
        self.norm = RMSNorm(channels)
        depths = [settings.depth * mult for mult in reversed(settings.mults)]
        stages = pairwise(depths)
        self.stages = nn.Sequential(*(DecoderStage(i, o, settings.kernel) for i, o in stages))
        self.out = DoublingConvolution(depths[-1], image[2], settings.kernel)

    def forward(self, latent: Latent) -> Tensor:
        height, width, channels = self.shape
        deter = latent.deter.reshape(-1, SPACE_BLOCKS, latent.deter.shape[-1] // SPACE_BLOCKS)
        deter = self.deter_to_space(deter.to(latent.stoch.dtype))
        deter = deter.view(-1, SPACE_BLOCKS, height, width, channels // SPACE_BLOCKS)
        deter = deter.permute(0, 2, 3, 1, 4).flatten(-2)
        stoch = self.stoch_to_space(self.stoch_hidden(latent.stoch.flatten(-2).flatten(0, -2)))
        x = F.silu(self.norm(deter + stoch.view(-1, *self.shape)))
        image: Tensor = self.out(self.stages(x.to(latent.stoch.dtype)))
        return image.reshape(*latent.deter.shape[:-1], *image.shape[1:])


class Decoder(nn.Module):
    """Both decoders, as far as the interface has a vector and an image."""

    def __init__(self, interface: SpaceLayout, settings: WorldSettings) -> None:
        super().__init__()
        self.vector = VectorDecoder(settings, len(interface.vector)) if interface.vector else None
        self.image = ImageDecoder(settings, interface.image) if interface.image else None

    def layout_axes(self) -> Mapping[str, LayoutAxis]:
        axes: dict[str, LayoutAxis] = {}
        for name, network, entries in (("vector", self.vector, vector_entries), ("image", self.image, channel_entries)):
            if network is not None:
                axes |= present_with(entries, name, network)
                axes |= {f"{name}.out.{part}": LayoutAxis(0, entries) for part in ("weight", "bias")}
        return axes
