"""The world model, which all tasks of a world share: it knows no task, no reward and no environment."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.execution.eager import Execution
from manyheads.world.decoder import Decoder
from manyheads.world.distributions import symexp, symlog
from manyheads.world.encoder import Encoder, token_entries
from manyheads.world.grow import LayoutAxis, vector_entries
from manyheads.world.harmony import Harmony
from manyheads.world.readout import Readout, ReadoutPrediction
from manyheads.world.rssm import RSSM, Latent, Observed, observe_sequence
from manyheads.world.running_norm import RunningNorm
from manyheads.world.sizes import WorldSettings

__all__ = ["Latent", "Observed", "World"]


class World(nn.Module):
    """Encoder, recurrent state-space model and decoder over one interface, a `SpaceLayout`. Weights are float32."""

    def __init__(self, interface: SpaceLayout, settings: WorldSettings) -> None:
        super().__init__()
        if not interface.image and not interface.vector:
            raise ManyheadsError("A world needs something to observe; its interface has no image, no vector.")
        if not interface.action_size:
            raise ManyheadsError("A world needs actions; its interface has none, continuous or discrete.")
        self.interface = interface
        self.settings = settings
        self.execution = Execution()
        self.encoder = Encoder(interface, settings)
        self.rssm = RSSM(settings, interface.action_size, self.encoder.size)
        self.decoder = Decoder(interface, settings)
        self.harmony = Harmony(self.terms) if settings.loss_weights == "harmonised" else None
        self.vector_norm = RunningNorm(len(interface.vector)) if settings.vectors != "natural" else None
        self.readouts: dict[str, Readout] = {}
        """by dynamics key; trained and saved on their own, so no part of this module's parameters"""

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of this world's losses."""
        seen = {"vector": self.decoder.vector, "image": self.decoder.image}
        return ("dyn", "rep", *(name for name, network in seen.items() if network is not None))

    def layout_axes(self) -> Mapping[str, LayoutAxis]:
        """What joins parts: the posterior reads the recurrent state and all tokens."""

        def posterior_inputs(layout: SpaceLayout) -> Sequence[Hashable]:
            return [*range(self.settings.deter), *token_entries(layout, self.settings)]

        axes = {"rssm.posterior_layers.0.linear.weight": LayoutAxis(1, posterior_inputs)}
        if self.vector_norm is not None:
            axes |= {f"vector_norm.{name}": LayoutAxis(0, vector_entries) for name in self.vector_norm.state_dict()}
        return axes

    @property
    def device(self) -> torch.device:
        return self.rssm.prior_logits.weight.device

    def vector_masks(self, instances: Sequence[SpaceLayout]) -> Tensor:
        """Which vector entries each of N instances has, bool (N, V): for `observe` and `step`."""
        return torch.from_numpy(self.interface.vector_masks(instances)).to(self.device)

    def initial(self, n: int) -> Latent:
        """The state before an episode's first row: zeros, (n, D) and (n, G, C)."""
        s = self.settings
        deter = torch.zeros(n, s.deter, device=self.device)
        return Latent(deter, torch.zeros(n, s.groups, s.classes, device=self.device))

    def draw_noise(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        """Noise (*shape, G) for `observe`, `step` and `imagine_step`."""
        like = self.rssm.prior_logits.weight
        return self.rssm.distribution.draw_noise((*shape, self.settings.groups), generator, like)

    def observe(
        self,
        image: Tensor | None,
        vector: Tensor,
        previous_action: Tensor,
        reset: Tensor,
        start: Latent,
        noise: Tensor,
        vector_mask: Tensor | None = None,
        pictured: Tensor | None = None,
    ) -> Observed:
        """Posterior states of (B, T) rows.

        image (B, T, H, W, C) uint8 or None, vector (B, T, V), previous_action (B, T, A); where `reset` (B, T) the state
        is reset; `start` is the state before row 0; noise is (B, T, G). `vector_mask` (B, V) names the entries that
        each sequence's instance has (None: all). With `pictured` (P,) image is (P, T, H, W, C), see `Batch.pictured`.
        """
        execution = self.execution
        normalized = self._seen(vector, None if vector_mask is None else vector_mask[:, None])
        tokens = execution.compile(Encoder.forward)(self.encoder, image, normalized, execution.compute_dtype, pictured)
        observe = execution.implementation(observe_sequence)
        return observe(self.rssm, execution, start, tokens, previous_action, reset, noise)

    def losses(
        self,
        observed: Observed,
        image: Tensor | None,
        vector: Tensor,
        vector_mask: Tensor,
        image_mask: Tensor,
        pictured: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Unscaled losses (B, T), one for each of `terms`.

        A sequence counts only in the entries that its instance has: vector_mask (B, V), image_mask (B,).
        """
        target = ReconstructionTarget(image, self._normalize(vector), vector_mask, image_mask, pictured)
        return world_losses(self.rssm, self.decoder, self.execution.compute_dtype, self._absolute, observed, target)

    def scaled_losses(
        self,
        observed: Observed,
        image: Tensor | None,
        vector: Tensor,
        vector_mask: Tensor,
        image_mask: Tensor,
        pictured: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The means of `losses` times their scales, (), to be minimised by their sum alone.

        With learned weights (`world.loss_weights`) the terms stay as they are, and `harmony` is what the weights add.
        """
        target, scales = (
            ReconstructionTarget(image, self._normalize(vector), vector_mask, image_mask, pictured),
            self.settings.scales.model_dump(),
        )
        networks = self.rssm, self.decoder, self.harmony
        return self.execution.compile_loss(scaled_world_losses)(
            *networks, self.execution.compute_dtype, self._absolute, scales, observed, target
        )

    def update_norm(self, vector: Tensor, vector_mask: Tensor) -> None:
        """Updates the running mean and deviation of vectors (B, T, V), unless `world.vectors` is natural."""
        if self.vector_norm is not None:
            self.vector_norm.update(vector, vector_mask)

    @property
    def _absolute(self) -> bool:
        return self.settings.reconstruction == "absolute"

    def _normalize(self, vector: Tensor) -> Tensor:
        return vector if self.vector_norm is None else self.vector_norm.normalize(vector)

    def _seen(self, vector: Tensor, mask: Tensor | None) -> Tensor:
        """What the encoder gets: 0 for entries that an instance lacks, whatever others of them are like."""
        normalized = self._normalize(vector)
        if self.vector_norm is None or mask is None or self.settings.vectors == "standardised_all":
            return normalized
        return normalized * mask

    @torch.no_grad()
    def step(
        self,
        image: Tensor | None,
        vector: Tensor,
        previous_action: Tensor,
        reset: Tensor,
        previous: Latent,
        noise: Tensor,
        vector_mask: Tensor | None = None,
    ) -> Latent:
        """The posterior state of one row each of N environments, for acting; noise is (N, G), `vector_mask` (N, V)."""
        tokens = self.encoder(image, self._seen(vector, vector_mask))
        return self.rssm.observe_step(previous, tokens, previous_action, reset, noise)[0]

    def imagine_step(self, latent: Latent, action: Tensor, noise: Tensor) -> Latent:
        """The state that the model expects after `action` (N, A), before any observation; noise is (N, G)."""
        return self.rssm.imagine_step(latent, action, noise)

    def readout(self, latent: Latent, dynamics_key: str) -> ReadoutPrediction:
        """What the environment of that dynamics key measures in states (...); raises ManyheadsError where this world
        has no readout of it."""
        if dynamics_key not in self.readouts:
            raise ManyheadsError(
                f"This world has no readout of {dynamics_key}, which `manyheads train` and `manyheads finetune` make."
            )
        prediction: ReadoutPrediction = self.readouts[dynamics_key](latent.feature)
        return prediction

    @torch.no_grad()
    def decode(self, latent: Latent) -> tuple[Tensor | None, Tensor]:
        """What the state looks like: image uint8 (..., H, W, C) or None, vector (..., V) in natural units."""
        image = None
        if self.decoder.image is not None:
            image = (self.decoder.image(latent).sigmoid() * 255).round().to(torch.uint8)
        if self.decoder.vector is None:
            return image, latent.deter.new_zeros(*latent.deter.shape[:-1], 0)
        vector = symexp(self.decoder.vector(latent))
        return image, vector if self.vector_norm is None else self.vector_norm.denormalize(vector)


class ReconstructionTarget(NamedTuple):
    """What (B, T) rows are to be reconstructed as."""

    image: Tensor | None
    vector: Tensor
    vector_mask: Tensor
    image_mask: Tensor
    pictured: Tensor | None = None


def world_losses(
    rssm: RSSM, decoder: Decoder, dtype: torch.dtype, absolute: bool, observed: Observed, target: ReconstructionTarget
) -> dict[str, Tensor]:
    """See `World.losses`; products in `dtype`, reconstruction by `absolute` or squared error."""

    def magnitude(error: Tensor) -> Tensor:
        return error.abs() if absolute else error.square()

    rows, latents = rssm.losses(observed), observed.latents.to_compute_dtype(dtype)
    if decoder.vector is not None:
        error = decoder.vector(latents) - symlog(target.vector)
        rows["vector"] = (magnitude(error) * target.vector_mask[:, None]).sum(-1)
    if decoder.image is not None and target.image is not None:
        at = target.pictured
        seen = latents if at is None else latents.map(lambda x: x.index_select(0, at))
        error = decoder.image(seen).sigmoid() - target.image.float() / 255
        missed = magnitude(error).sum((-3, -2, -1))
        if at is not None:
            missed = missed.new_zeros(rows["dyn"].shape).index_copy(0, at, missed)
        rows["image"] = missed * target.image_mask[:, None]
    return rows


def scaled_world_losses(
    rssm: RSSM,
    decoder: Decoder,
    harmony: Harmony | None,
    dtype: torch.dtype,
    absolute: bool,
    scales: Mapping[str, float],
    observed: Observed,
    target: ReconstructionTarget,
) -> dict[str, Tensor]:
    """See `World.objective`."""
    terms = {name: rows.mean() for name, rows in world_losses(rssm, decoder, dtype, absolute, observed, target).items()}
    scaled = {name: scales[name] * loss for name, loss in terms.items()}
    if harmony is None:
        return scaled
    added = [scales[name] * (harmony(name, loss) - loss) for name, loss in terms.items()]
    return {**scaled, "harmony": torch.stack(added).sum()}
