"""The forward and backward pass of MLP layers by hand, in few passes over memory: `MLP` is the definition.

Of a layer only the product with its weight is kept. In the backward pass sums over rows are products by ones: a
compiler would read everything once more for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.func import vjp
from torch.nn import functional as F

from manyheads.world.networks import MLP, Layer, Linear, normalized

Gradients = dict[str, Tensor]


def joint_first_layer(networks: Sequence[MLP], x: Tensor) -> tuple[Tensor, ...]:
    """The first layers' products (..., U) of networks with the same input (..., I), as one product."""
    weights = [network.sequence[0].linear.weight for network in networks]
    return torch.split(F.linear(x, torch.cat(weights).to(x.dtype)), [len(weight) for weight in weights], -1)


def forward(network: MLP, product: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The network's output and every layer's product, from the product of the first layer."""
    products = [product]
    for layer, following in pairwise(network.sequence):
        products.append(F.linear(activate(layer, products[-1]), following.linear.weight.to(product.dtype)))
    return activate(network.sequence[-1], products[-1]), products


def activate(layer: Layer, product: Tensor) -> Tensor:
    """A layer's output, in the product's type."""
    return layer.activate(product.to(layer.linear.bias.dtype) + layer.linear.bias).to(product.dtype)


def backward(network: MLP, inputs: Tensor, products: Sequence[Tensor], by_output: Tensor) -> Gradients:
    """Gradients with respect to the network's parameters."""
    gradients: Gradients = {}
    layers = network.sequence
    for i, layer in reversed([*enumerate(layers)]):
        by_product, by_gain = _activation_backward(layer, products[i], by_output)
        gradients[f"{i}.norm.weight"] = by_gain
        if i:
            by_linear, by_output = linear_backward(layer.linear, activate(layers[i - 1], products[i - 1]), by_product)
            gradients |= {f"{i}.linear.{name}": gradient for name, gradient in by_linear.items()}
    return gradients | {"0.linear.weight": by_product.T @ inputs, "0.linear.bias": sum_rows(by_product)}


def linear_backward(linear: Linear, inputs: Tensor, by_output: Tensor) -> tuple[Gradients, Tensor]:
    """Gradients with respect to a linear map's weight and bias, and by its inputs (N, I)."""
    by_output = by_output.to(inputs.dtype)
    own = {"weight": by_output.T @ inputs, "bias": sum_rows(by_output)}
    return own, by_output @ linear.weight.to(inputs.dtype)


def sum_rows(x: Tensor) -> Tensor:
    """(N, M) summed to (M,), as a product."""
    return (x.new_ones(1, len(x)) @ x).squeeze(0)


def _activation_backward(layer: Layer, product: Tensor, by_output: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients with respect to a layer's product (N, U) and by its gain."""

    def activate(x: Tensor, gain: Tensor) -> Tensor:
        return F.silu(normalized(x) * gain)

    x, gain = product.to(layer.linear.bias.dtype) + layer.linear.bias, layer.norm.weight
    by_product, by_gain = vjp(activate, x, gain.expand_as(x))[1](by_output.to(x.dtype))
    return by_product.to(product.dtype), sum_rows(by_gain.to(product.dtype))
