"""Layers: linear, block-diagonal and convolutional maps, RMS norm, SiLU; weights drawn as in DreamerV3.

Order in every layer: map with bias, norm, SiLU. Features and channels are the last axis throughout. Weights are
float32. A map multiplies in its input's type, which may be shorter, and gives its bias's; a layer gives its input's.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NORM_EPSILON = 1e-4


def draw_weight(weight: Tensor, fan_in: int, scale: float = 1.0) -> None:
    """Fills with a normal truncated at two deviations whose variance after truncation is scale^2 / fan_in."""
    if scale == 0:
        nn.init.zeros_(weight)
        return
    deviation = 1.1368 * scale / fan_in**0.5
    nn.init.trunc_normal_(weight, 0.0, deviation, -2 * deviation, 2 * deviation)


class Linear(nn.Linear):
    """A linear map; `scale` multiplies the initial weight, biases start at zero."""

    def __init__(self, inputs: int, outputs: int, scale: float = 1.0) -> None:
        self.scale = scale
        super().__init__(inputs, outputs)

    def reset_parameters(self) -> None:
        draw_weight(self.weight, self.in_features, self.scale)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype)).to(self.bias.dtype) + self.bias


class BlockLinear(nn.Module):
    """A block-diagonal linear map: (..., blocks, inputs / blocks) to (..., blocks, outputs / blocks)."""

    def __init__(self, inputs: int, outputs: int, blocks: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(blocks, inputs // blocks, outputs // blocks))
        self.bias = nn.Parameter(torch.zeros(outputs))
        draw_weight(self.weight, fan_in=inputs)  # the full width, not a block's: the official initialisation

    def forward(self, x: Tensor) -> Tensor:
        blocks, inputs, outputs = self.weight.shape
        y = torch.bmm(by_block(x.reshape(-1, blocks, inputs)), self.weight.to(x.dtype))
        return y.transpose(0, 1).to(self.bias.dtype).reshape(*x.shape[:-1], outputs) + self.bias.view(blocks, outputs)


def by_block(x: Tensor) -> Tensor:
    """(N, blocks, width) as (blocks, N, width), in memory too: a product would copy it, a compiler writes it so."""
    return x.transpose(0, 1).contiguous()


class Convolution(nn.Conv2d):
    """A convolution over (N, H, W, C) images that keeps their size."""

    bias: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)

    def reset_parameters(self) -> None:
        draw_weight(self.weight, fan_in=self.weight[0].numel())
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.product(x).to(self.bias.dtype) + self.bias

    def product(self, x: Tensor) -> Tensor:
        """Without the bias, of the input's type."""
        return F.conv2d(x.permute(0, 3, 1, 2), self.weight.to(x.dtype), padding=self.padding).permute(0, 2, 3, 1)


class DoublingConvolution(Convolution):
    """A convolution over (N, H, W, C) images that are doubled first, by repeating pixels: (N, 2 H, 2 W, C').

    It is computed before doubling: rows of the kernel that fall on copies of one row are added up first, some for even
    and some for odd rows of the result, and columns likewise. With a kernel of 5, nine products do for 25.
    """

    taps: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel)
        taps = doubled_taps(kernel)
        self.rows = taps.shape[1]
        both = torch.einsum("asd,bte->deabst", taps, taps).reshape(kernel * kernel, -1)  # rows and columns
        self.register_buffer("taps", both, persistent=False)

    def product(self, x: Tensor) -> Tensor:
        n, height, width, _ = x.shape
        weight = (self.weight.flatten(2) @ self.taps).view(*self.weight.shape[:2], 2, 2, self.rows, self.rows)
        weight = weight.permute(2, 3, 0, 1, 4, 5).flatten(0, 2)
        y = F.conv2d(x.permute(0, 3, 1, 2), weight.to(x.dtype), padding=self.rows // 2)
        y = y.permute(0, 2, 3, 1).reshape(n, height, width, 2, 2, -1).transpose(2, 3)
        return y.reshape(n, 2 * height, 2 * width, -1)


def doubled_taps(kernel: int) -> Tensor:
    """(2, rows, kernel): 1 where that row of a kernel falls on that row before doubling, for even and odd results."""
    reach = (kernel // 2 + 1) // 2
    taps = torch.zeros(2, 2 * reach + 1, kernel)
    for odd in range(2):
        for row in range(kernel):
            taps[odd, (odd + row - kernel // 2) // 2 + reach, row] = 1
    return taps


class RMSNorm(nn.Module):
    """Divides by the root mean square over the last axis; a learned gain, no shift."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return normalized(x) * self.weight


def normalized(x: Tensor) -> Tensor:
    """`x` over the root of its mean square along the last axis: `F.rms_norm`, which writes to what it makes, and so
    takes twice as long to trace."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + NORM_EPSILON)


class Layer(nn.Module):
    """Linear, RMS norm, SiLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = Linear(inputs, outputs)
        self.norm = RMSNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.activate(self.linear(x)).to(x.dtype)

    def activate(self, x: Tensor) -> Tensor:
        return F.silu(self.norm(x))


class MLP(nn.Sequential):
    """`layers` layers of `units`."""

    def __init__(self, inputs: int, units: int, layers: int) -> None:
        super().__init__(*(Layer(units if i else inputs, units) for i in range(layers)))

    @property
    def sequence(self) -> list[Layer]:
        """The layers, as what they are."""
        return cast(list[Layer], [*self])


def max_pool(x: Tensor) -> Tensor:
    """Halves (N, H, W, C) images by the maximum of 2 x 2 pixels; equal ones share its gradient.

    Elementwise, for a compiler makes the backward pass of `max_pool2d` a search by index.
    """
    n, height, width, channels = x.shape
    x = x.reshape(n, height // 2, 2, width // 2, 2, channels)
    upper, lower = (torch.maximum(x[:, :, row, :, 0], x[:, :, row, :, 1]) for row in range(2))
    return torch.maximum(upper, lower)
