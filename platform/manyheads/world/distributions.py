"""Squashing, two-hot regression and the densities of DreamerV3, as plain functions of tensors.

Samples are functions of noise that is passed in: uniform numbers for categorical variables (by inverse CDF),
normal numbers for continuous ones.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

# --- squashing -------------------------------------------------------------------------------------------


def symlog(x: Tensor) -> Tensor:
    """sign(x) ln(1 + |x|)"""
    return torch.sign(x) * torch.log1p(torch.abs(x))


def symexp(x: Tensor) -> Tensor:
    """sign(x) (exp(|x|) - 1), the inverse of symlog; overflows to infinity beyond about 88.7."""
    return torch.sign(x) * torch.expm1(torch.abs(x))


# --- two-hot regression over symexp-spaced bins ----------------------------------------------------------

BINS = 255


def two_hot_bins() -> Tensor:
    """(255,) ascending, bin[k] = -bin[254 - k] exactly, bin[127] = 0, from -4.85e8 to 4.85e8."""
    lower = symexp(torch.linspace(-20, 0, BINS // 2 + 1))
    return torch.cat([lower, -lower[:-1].flip(0)])


def two_hot_mean(logits: Tensor, bins: Tensor) -> Tensor:
    """The expected bin, (..., 255) to (...), in the raw space of values."""
    return paired_mean(paired(logits, -1, -math.inf), bins)


def paired(x: Tensor, dim: int, fill: float) -> Tensor:
    """The 255 bins along an axis as two mirrored halves of 128: the middle and up, then `fill` and down."""
    lower, upper = torch.split(x, [BINS // 2, BINS // 2 + 1], dim)
    return torch.cat([upper, torch.full_like(upper.narrow(dim, 0, 1), fill), lower.flip(dim)], dim)


def paired_mean(logits: Tensor, bins: Tensor) -> Tensor:
    """The expected bin of logits (..., 256) in the order of `paired`.

    Mirrored probabilities are subtracted before they meet their bin, so that symmetric logits give exactly 0
    also where a compiler fuses multiplication and addition.
    """
    upper, lower = logits.chunk(2, -1)
    top = torch.maximum(upper, lower).detach().amax(-1, keepdim=True)
    upper, lower = (upper - top).exp(), (lower - top).exp()
    mean: Tensor = ((upper - lower) * bins[BINS // 2 :]).sum(-1) / (upper + lower).sum(-1)
    return mean


class TwoBins(NamedTuple):
    """The two bins around targets (...), as whole float numbers, and their shares in raw space."""

    below: Tensor
    """(...) the bin at or below the target"""
    weight: Tensor
    """(...) share of the next bin"""


def two_bins(target: Tensor, bins: Tensor) -> TwoBins:
    """Between which bins the targets lie; no gradient flows through."""
    target = target.detach()
    below = (torch.bucketize(target.contiguous(), bins, right=True) - 1).clamp(0, BINS - 2)
    low, high = bins[below], bins[below + 1]
    return TwoBins(below.to(bins.dtype), ((target - low) / (high - low)).clamp(0, 1))


def two_hot(*targets: TwoBins) -> Tensor:
    """The shares (..., 255) of the two bins around each target; a sum over the targets."""
    place = torch.arange(BINS, dtype=targets[0].below.dtype, device=targets[0].below.device)
    shares = [(1 - (place - below[..., None] - weight[..., None]).abs()).clamp(min=0) for below, weight in targets]
    return reduce(torch.add, shares)


def two_hot_loss(logits: Tensor, *targets: TwoBins) -> Tensor:
    """Cross-entropy (...) of (..., 255) logits with the two bins around each target; a sum over the targets."""
    return len(targets) * logits.logsumexp(-1) - (two_hot(*targets) * logits).sum(-1)


def two_hot_gradient(logits: Tensor, share: Tensor, *targets: TwoBins) -> tuple[Tensor, Tensor]:
    """The sum of `share` (...) times `two_hot_loss`, and its gradient by the logits."""
    top = logits.amax(-1, keepdim=True)
    masses = (logits - top).exp()
    total = masses.sum(-1, keepdim=True)
    loss = len(targets) * (total.log() + top).squeeze(-1)
    for below, weight in targets:
        low = below.long()[..., None]
        loss = loss - torch.lerp(logits.gather(-1, low), logits.gather(-1, low + 1), weight[..., None]).squeeze(-1)
    gradient = (len(targets) * share)[..., None] / total * masses - share[..., None] * two_hot(*targets)
    return (share * loss).sum(), gradient


# --- categorical -----------------------------------------------------------------------------------------


def mixed_probs(logits: Tensor, unimix: float, dim: int = -1) -> Tensor:
    """Softmax with a share `unimix` of uniform mass."""
    return (1 - unimix) * logits.softmax(dim) + unimix / logits.shape[dim]


def sample_one_hot(probs: Tensor, uniform: Tensor) -> Tensor:
    """One-hot (..., C): the class is the number of cumulative probabilities below `uniform` (...)."""
    passed = probs[..., :-1].cumsum(-1) < uniform[..., None]
    return (F.pad(passed, (1, 0), value=True) & ~F.pad(passed, (0, 1), value=False)).to(probs.dtype)


def straight_through(sample: Tensor, probs: Tensor) -> Tensor:
    """The sample exactly, with the gradient of the probabilities."""
    return sample + (probs - probs.detach())


def categorical_kl(p: Tensor, q: Tensor, dim: int = -1) -> Tensor:
    """KL(p || q) of probabilities over an axis."""
    return (p * (p.log() - q.log())).sum(dim)


# --- normal ----------------------------------------------------------------------------------------------

MIN_STD, MAX_STD = 0.1, 1.0


def bounded_normal(raw_mean: Tensor, raw_std: Tensor) -> tuple[Tensor, Tensor]:
    """Mean tanh(raw), standard deviation in (0.1, 1): an ordinary normal whose samples may leave [-1, 1]."""
    spread = MAX_STD - MIN_STD
    return raw_mean.tanh(), spread * (raw_std + 2).sigmoid() + MIN_STD


def normal_log_prob(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Log density of each component."""
    return -0.5 * ((x - mean) / std).square() - std.log() - 0.5 * math.log(2 * math.pi)


def normal_entropy(std: Tensor) -> Tensor:
    """Entropy of each component."""
    return std.log() + 0.5 * math.log(2 * math.pi * math.e)


# --- Bernoulli -------------------------------------------------------------------------------------------


def bernoulli_loss(logit: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with a soft target in [0, 1]."""
    return F.binary_cross_entropy_with_logits(logit, target, reduction="none")
