"""One policy over the flat action vector: bounded normals for continuous entries, categoricals for one-hot blocks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from manyheads.environment.layout import Mask, SpaceLayout
from manyheads.world.distributions import bounded_normal, normal_entropy, normal_log_prob, sample_one_hot
from manyheads.world.grow import LayoutAxis, choice_entries, continuous_entries
from manyheads.world.networks import MLP, Linear

OUTPUT_SCALE = 0.01


class ActionDistribution:
    """A distribution over flat actions (..., A); entries outside the mask are 0 and count for nothing."""

    def __init__(
        self, mean: Tensor, std: Tensor, logits: tuple[Tensor, ...], continuous: Tensor, blocks: Tensor
    ) -> None:
        self.mean, self.std = mean, std
        self.log_probs = tuple(block.log_softmax(-1) for block in logits)
        self._continuous, self._blocks = continuous, blocks

    def sample(self, noise: Tensor) -> Tensor:
        """Unclipped actions from noise (..., entries): normal numbers, then one uniform number a block.

        Gradients flow through the continuous part alone.
        """
        count = self.mean.shape[-1]
        parts = [(self.mean + self.std * noise[..., :count]) * self._continuous]
        for i, log_probs in enumerate(self.log_probs):
            parts.append(sample_one_hot(log_probs.detach().exp(), noise[..., count + i]) * self._blocks[i])
        return torch.cat(parts, -1)

    def mode(self) -> Tensor:
        """The most likely actions (..., A), unclipped."""
        parts = [self.mean * self._continuous]
        for i, log_probs in enumerate(self.log_probs):
            likeliest = torch.nn.functional.one_hot(log_probs.argmax(-1), log_probs.shape[-1])
            parts.append(likeliest.to(self.mean) * self._blocks[i])
        return torch.cat(parts, -1)

    def log_prob(self, action: Tensor) -> Tensor:
        """(...) summed over entries."""
        continuous, *blocks = torch.split(action, [self.mean.shape[-1], *(b.shape[-1] for b in self.log_probs)], -1)
        total = (normal_log_prob(continuous, self.mean, self.std) * self._continuous).sum(-1)
        for i, (log_probs, chosen) in enumerate(zip(self.log_probs, blocks, strict=True)):
            total = total + (log_probs * chosen).sum(-1) * self._blocks[i]
        return total

    def entropy(self) -> Tensor:
        """(...) summed over entries."""
        total = (normal_entropy(self.std) * self._continuous).sum(-1)
        for i, log_probs in enumerate(self.log_probs):
            total = total - (log_probs.exp() * log_probs).sum(-1) * self._blocks[i]
        return total


class Actor(nn.Module):
    """Features (..., F) to a distribution over the actions that one instance of the interface has."""

    continuous: Tensor
    blocks: Tensor
    own: Tensor

    def __init__(self, interface: SpaceLayout, mask: Mask, inputs: int, units: int, layers: int) -> None:
        super().__init__()
        count, self.block_sizes = len(interface.continuous), interface.blocks
        self.layers = MLP(inputs, units, layers)
        self.mean = Linear(units, count, OUTPUT_SCALE) if count else None
        self.std = Linear(units, count, OUTPUT_SCALE) if count else None
        self.logits = Linear(units, sum(self.block_sizes), OUTPUT_SCALE) if self.block_sizes else None
        self.register_buffer("continuous", torch.from_numpy(mask.continuous).float(), persistent=False)
        self.register_buffer("blocks", torch.from_numpy(mask.blocks).float(), persistent=False)
        self.own_counts = int(mask.continuous.sum()), int(mask.blocks.sum())
        own = np.flatnonzero(np.concatenate([mask.continuous, mask.blocks]))
        self.register_buffer("own", torch.from_numpy(own), persistent=False)

    def forward(self, feature: Tensor) -> ActionDistribution:
        hidden = self.layers(feature)
        return self.distribution({name: output(hidden) for name, output in self.outputs.items()})

    def layout_axes(self) -> Mapping[str, LayoutAxis]:
        follows = {"mean": continuous_entries, "std": continuous_entries, "logits": choice_entries}
        return {f"{name}.{part}": LayoutAxis(0, follows[name]) for name in self.outputs for part in ("weight", "bias")}

    @property
    def outputs(self) -> dict[str, Linear]:
        """The output layers by name."""
        maps = {"mean": self.mean, "std": self.std, "logits": self.logits}
        return {name: output for name, output in maps.items() if output is not None}

    def distribution(self, raw: Mapping[str, Tensor]) -> ActionDistribution:
        """From the outputs of `outputs`."""
        shape = next(iter(raw.values())).shape[:-1]
        mean = std = self.continuous.new_zeros(*shape, 0)
        if "mean" in raw:
            mean, std = bounded_normal(raw["mean"], raw["std"])
        logits: tuple[Tensor, ...] = ()
        if "logits" in raw:
            logits = torch.split(raw["logits"], list(self.block_sizes), -1)
        return ActionDistribution(mean, std, logits, self.continuous, self.blocks)

    def draw_noise(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        """Noise (*shape, entries) for `ActionDistribution.sample`.

        Drawn for the head's own entries alone, so that its actions do not change when the world grows.
        """
        device, (continuous, blocks) = self.continuous.device, self.own_counts
        normal = torch.randn(*shape, continuous, generator=generator, device=device)
        uniform = torch.rand(*shape, blocks, generator=generator, device=device)
        everywhere = torch.zeros(*shape, len(self.continuous) + len(self.blocks), device=device)
        return everywhere.index_copy(-1, self.own, torch.cat([normal, uniform], -1))


def reinforce_loss(
    policy: ActionDistribution, action: Tensor, advantage: Tensor, entropy_coef: float
) -> tuple[Tensor, Tensor]:
    """REINFORCE with an entropy bonus, and the entropy of each state, (...)."""
    entropy = policy.entropy()
    return -policy.log_prob(action) * advantage - entropy_coef * entropy, entropy
