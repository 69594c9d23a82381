"""The latent's two kinds: categorical variables as in DreamerV3, or a diagonal Gaussian as in a VAE.

Networks give raw numbers (..., G, `numbers`); a sample is (..., G, C). Noise is one number per variable.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manyheads.world.distributions import categorical_kl, mixed_probs, sample_one_hot, straight_through
from manyheads.world.sizes import WorldSettings

MIN_STD = 0.1
FEW = 16
"""classes, fewer than a vector register has places: each is a tensor then, for compilers give up on such axes"""


class LatentDistribution(nn.Module, ABC):
    """How raw numbers become samples and divergences."""

    num_params: int

    @abstractmethod
    def draw_noise(self, shape: tuple[int, ...], generator: torch.Generator | None, like: Tensor) -> Tensor:
        """The noise that `sample` wants, of this shape, on the device of `like`."""

    @abstractmethod
    def sample(self, raw: Tensor, noise: Tensor) -> Tensor:
        """(..., G, C) with gradients."""

    @abstractmethod
    def draw(self, raw: Tensor, noise: Tensor, dtype: torch.dtype) -> Tensor:
        """What `sample` gives, (N, G, C) in `dtype`, without gradients and for many states at once."""

    @abstractmethod
    def losses(self, posterior: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
        """KL that trains the prior, KL that trains the posterior: (...) each, summed over the variables."""


class Categorical(LatentDistribution):
    """G one-hot variables of C classes, mixed with some uniform mass; straight-through gradients."""

    spread: Tensor
    own: Tensor

    def __init__(self, settings: WorldSettings) -> None:
        super().__init__()
        self.num_params, self.unimix = settings.classes, settings.unimix
        own, spread = torch.arange(self.num_params), torch.eye(settings.groups).repeat_interleave(self.num_params, 1)
        self.register_buffer("own", own.repeat(settings.groups).float(), persistent=False)
        self.register_buffer("spread", spread, persistent=False)

    def draw_noise(self, shape: tuple[int, ...], generator: torch.Generator | None, like: Tensor) -> Tensor:
        return torch.rand(shape, generator=generator, device=like.device)

    def sample(self, raw: Tensor, noise: Tensor) -> Tensor:
        probs = mixed_probs(raw, self.unimix)
        return straight_through(sample_one_hot(probs.detach(), noise), probs)

    def draw(self, raw: Tensor, noise: Tensor, dtype: torch.dtype) -> Tensor:
        if self.num_params > FEW:
            return self.sample(raw, noise).to(dtype)
        # Each class is a separate tensor; one product by a constant takes every variable's class to its C places.
        logits = raw.unbind(-1)
        top = reduce(torch.maximum, logits)
        masses = [(logit - top).exp() for logit in logits]
        share, floor = (1 - self.unimix) / sum(masses), self.unimix / self.num_params
        passed, index = torch.zeros_like(noise), torch.zeros_like(noise)
        for mass in masses[:-1]:
            passed = passed + (mass * share + floor)
            index = index + torch.where(passed < noise, 1.0, 0.0)
        everywhere = (index.to(dtype) @ self.spread.to(dtype)).to(self.own.dtype)
        return (everywhere == self.own).to(dtype).view(raw.shape)

    def losses(self, posterior: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
        by_class = [raw.movedim(-1, 0).contiguous() for raw in (posterior, prior)]
        p, q = (mixed_probs(raw, self.unimix, 0) for raw in by_class)
        return categorical_kl(p.detach(), q, 0).sum(-1), categorical_kl(p, q.detach(), 0).sum(-1)


class Gaussian(LatentDistribution):
    """G independent normals; the posterior is held to the learned prior or to the standard normal."""

    def __init__(self, settings: WorldSettings) -> None:
        super().__init__()
        self.num_params = 2
        self.standard = settings.latent_prior == "standard"

    def draw_noise(self, shape: tuple[int, ...], generator: torch.Generator | None, like: Tensor) -> Tensor:
        return torch.randn(shape, generator=generator, device=like.device)

    def sample(self, raw: Tensor, noise: Tensor) -> Tensor:
        mean, std = self.mean_std(raw)
        return (mean + std * noise)[..., None]

    def draw(self, raw: Tensor, noise: Tensor, dtype: torch.dtype) -> Tensor:
        return self.sample(raw, noise).to(dtype)

    def losses(self, posterior: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
        p, q = self.mean_std(posterior), self.mean_std(prior)
        towards = (torch.zeros_like(q[0]), torch.ones_like(q[1])) if self.standard else q
        dyn = normal_kl(p[0].detach(), p[1].detach(), *q)
        rep = normal_kl(*p, towards[0].detach(), towards[1].detach())
        return dyn.sum(-1), rep.sum(-1)

    def mean_std(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (..., G)."""
        return raw[..., 0], F.softplus(raw[..., 1]) + MIN_STD


def normal_kl(mean_p: Tensor, std_p: Tensor, mean_q: Tensor, std_q: Tensor) -> Tensor:
    """KL(p || q) of each component."""
    ratio = std_p / std_q
    return 0.5 * (ratio.square() + ((mean_p - mean_q) / std_q).square() - 1) - ratio.log()


def latent_distribution(settings: WorldSettings) -> LatentDistribution:
    """The kind that the settings name."""
    return Gaussian(settings) if settings.latent == "gaussian" else Categorical(settings)
