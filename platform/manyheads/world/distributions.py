"""Squashing, two-hot regression and the densities of DreamerV3, as plain functions of tensors.

Samples are functions of noise that is passed in: uniform numbers for categorical variables (by inverse CDF),
normal numbers for continuous ones.
"""

from __future__ import annotations

import math
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
    return paired_mean(paired(logits, -1), bins)


def paired(x: Tensor, dim: int) -> Tensor:
    """The 255 bins along an axis in another order: the upper half, the lower half mirrored, the middle."""
    half = BINS // 2
    lower, middle, upper = torch.split(x, [half, 1, half], dim)
    return torch.cat([upper, lower.flip(dim), middle], dim)


def paired_mean(logits: Tensor, bins: Tensor) -> Tensor:
    """The expected bin of logits in the order of `paired`.

    Mirrored probabilities are subtracted before they meet their bin, so that symmetric logits give exactly 0
    also where a compiler fuses multiplication and addition.
    """
    half, masses = BINS // 2, (logits - logits.detach().amax(-1, keepdim=True)).exp()
    upper, lower, middle = torch.split(masses, [half, half, 1], -1)
    total = (upper + lower).sum(-1) + middle.squeeze(-1)
    mean: Tensor = ((upper - lower) * bins[half + 1 :]).sum(-1) / total
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


def two_hot_loss(logits: Tensor, *targets: TwoBins) -> Tensor:
    """Cross-entropy (...) of (..., 255) logits with the two bins around each target; a sum over the targets."""
    place = torch.arange(BINS, dtype=logits.dtype, device=logits.device)
    aimed = torch.zeros_like(logits)
    for below, weight in targets:
        distance, weight = place - below[..., None], weight[..., None]
        aimed = aimed + torch.where(distance == 0, 1 - weight, torch.where(distance == 1, weight, 0))
    return len(targets) * logits.logsumexp(-1) - (aimed * logits).sum(-1)


# --- categorical -----------------------------------------------------------------------------------------


def mixed_probs(logits: Tensor, unimix: float) -> Tensor:
    """Softmax with a share `unimix` of uniform mass."""
    return (1 - unimix) * logits.softmax(-1) + unimix / logits.shape[-1]


def sample_one_hot(probs: Tensor, uniform: Tensor) -> Tensor:
    """One-hot (..., C): the class is the number of cumulative probabilities below `uniform` (...)."""
    passed = probs[..., :-1].cumsum(-1) < uniform[..., None]
    return (F.pad(passed, (1, 0), value=True) & ~F.pad(passed, (0, 1), value=False)).to(probs.dtype)


def straight_through(sample: Tensor, probs: Tensor) -> Tensor:
    """The sample exactly, with the gradient of the probabilities."""
    return sample + (probs - probs.detach())


def categorical_kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of probabilities over the last axis."""
    return (p * (p.log() - q.log())).sum(-1)


# --- normal ----------------------------------------------------------------------------------------------

MIN_DEVIATION, MAX_DEVIATION = 0.1, 1.0


def bounded_normal(raw_mean: Tensor, raw_deviation: Tensor) -> tuple[Tensor, Tensor]:
    """Mean tanh(raw), deviation in (0.1, 1): an ordinary normal whose samples may leave [-1, 1]."""
    spread = MAX_DEVIATION - MIN_DEVIATION
    return raw_mean.tanh(), spread * (raw_deviation + 2).sigmoid() + MIN_DEVIATION


def normal_log_prob(x: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Log density of each component."""
    return -0.5 * ((x - mean) / deviation).square() - deviation.log() - 0.5 * math.log(2 * math.pi)


def normal_entropy(deviation: Tensor) -> Tensor:
    """Entropy of each component."""
    return deviation.log() + 0.5 * math.log(2 * math.pi * math.e)


# --- Bernoulli -------------------------------------------------------------------------------------------


def bernoulli_loss(logit: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with a soft target in [0, 1]."""
    return F.binary_cross_entropy_with_logits(logit, target, reduction="none")
