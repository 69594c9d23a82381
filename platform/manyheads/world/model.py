"""The world model: what every task of a world shares. It knows no task, no reward and no instance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from manyheads.environment.places import Places
from manyheads.errors import ManyheadsError
from manyheads.world import scan
from manyheads.world.decoder import Decoder
from manyheads.world.distributions import symexp, symlog
from manyheads.world.encoder import Encoder
from manyheads.world.execution import Execution
from manyheads.world.harmony import Harmony
from manyheads.world.rssm import RSSM, Latent, Observed
from manyheads.world.sizes import WorldSettings
from manyheads.world.standard import Standard

__all__ = ["Latent", "Observed", "World"]


class World(nn.Module):
    """Encoder, recurrent state-space model and decoder over one interface. Weights are float32."""

    def __init__(self, interface: Places, settings: WorldSettings) -> None:
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
        self.standard = Standard(len(interface.vector)) if settings.vectors == "standardised" else None

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of this world's losses."""
        seen = {"vector": self.decoder.vector, "image": self.decoder.image}
        return ("dyn", "rep", *(name for name, network in seen.items() if network is not None))

    @property
    def device(self) -> torch.device:
        return self.rssm.prior_logits.weight.device

    def initial(self, n: int) -> Latent:
        """The state before an episode's first row: zeros, (n, D) and (n, G, C)."""
        s = self.settings
        deter = torch.zeros(n, s.deter, device=self.device)
        return Latent(deter, torch.zeros(n, s.groups, s.classes, device=self.device))

    def draw_noise(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        """Noise (*shape, G) for `observe`, `step` and `imagine_step`."""
        like = self.rssm.prior_logits.weight
        return self.rssm.kind.draw_noise((*shape, self.settings.groups), generator, like)

    def observe(
        self,
        image: Tensor | None,
        vector: Tensor,
        previous_action: Tensor,
        first: Tensor,
        start: Latent,
        noise: Tensor,
    ) -> Observed:
        """Posterior states of (B, T) rows; `start` is the state before row 0, noise is (B, T, G)."""
        seen = self._seen(vector)
        tokens = self.execution.region(Encoder.forward)(self.encoder, image, seen, self.execution.dtype)
        if self.execution.compiled:
            return scan.observe(self.rssm, self.execution, start, tokens, previous_action, first, noise)
        return self.rssm.observe(start, tokens.to(start.deter.dtype), previous_action, first, noise)

    def losses(
        self,
        observed: Observed,
        image: Tensor | None,
        vector: Tensor,
        vector_mask: Tensor,
        image_mask: Tensor,
    ) -> dict[str, Tensor]:
        """Unscaled losses (B, T), one for each of `terms`.

        Sequence b is reconstructed only in the places that its instance has: vector_mask (B, V), image_mask
        (B,).
        """
        target = Target(image, self._seen(vector), vector_mask, image_mask)
        return world_losses(self.rssm, self.decoder, self.execution.dtype, self._absolute, observed, target)

    def objective(
        self,
        observed: Observed,
        image: Tensor | None,
        vector: Tensor,
        vector_mask: Tensor,
        image_mask: Tensor,
    ) -> dict[str, Tensor]:
        """The scaled means of `losses`, (), to be trained by their sum alone.

        Learned weights leave the terms as they are and have one of their own, `harmony`: what they add.
        """
        target, scales = Target(image, self._seen(vector), vector_mask, image_mask), self.settings.scales.model_dump()
        networks = self.rssm, self.decoder, self.harmony
        return self.execution.objective(world_objective)(
            *networks, self.execution.dtype, self._absolute, scales, observed, target
        )

    def take_in(self, vector: Tensor, vector_mask: Tensor) -> None:
        """Learns, where `vectors` is standardised, what is usual in rows (B, T, V) that it has been trained on."""
        if self.standard is not None:
            self.standard.take_in(vector, vector_mask)

    @property
    def _absolute(self) -> bool:
        return self.settings.reconstruction == "absolute"

    def _seen(self, vector: Tensor) -> Tensor:
        return vector if self.standard is None else self.standard(vector)

    @torch.no_grad()
    def step(
        self,
        image: Tensor | None,
        vector: Tensor,
        previous_action: Tensor,
        first: Tensor,
        previous: Latent,
        noise: Tensor,
    ) -> Latent:
        """The posterior state of one row each of N environments, for acting; noise is (N, G)."""
        tokens = self.encoder(image, self._seen(vector))
        return self.rssm.observe_step(previous, tokens, previous_action, first, noise)[0]

    def imagine_step(self, latent: Latent, action: Tensor, noise: Tensor) -> Latent:
        """The state that the model expects after `action` (N, A), before any observation; noise is (N, G)."""
        return self.rssm.imagine_step(latent, action, noise)

    @torch.no_grad()
    def decode(self, latent: Latent) -> tuple[Tensor | None, Tensor]:
        """What the state looks like: image uint8 (..., H, W, C) or None, vector (..., V) in natural units."""
        image = None
        if self.decoder.image is not None:
            image = (self.decoder.image(latent).sigmoid() * 255).round().to(torch.uint8)
        if self.decoder.vector is None:
            return image, latent.deter.new_zeros(*latent.deter.shape[:-1], 0)
        vector = symexp(self.decoder.vector(latent))
        return image, vector if self.standard is None else self.standard.natural(vector)


class Target(NamedTuple):
    """What (B, T) rows are to be reconstructed as."""

    image: Tensor | None
    vector: Tensor
    vector_mask: Tensor
    image_mask: Tensor


def world_losses(
    rssm: RSSM, decoder: Decoder, dtype: torch.dtype, absolute: bool, observed: Observed, target: Target
) -> dict[str, Tensor]:
    """See `World.losses`; products in `dtype`, reconstruction by `absolute` or squared error."""

    def magnitude(error: Tensor) -> Tensor:
        return error.abs() if absolute else error.square()

    rows, latents = rssm.losses(observed), observed.latents.shorten(dtype)
    if decoder.vector is not None:
        error = decoder.vector(latents) - symlog(target.vector)
        rows["vector"] = (magnitude(error) * target.vector_mask[:, None]).sum(-1)
    if decoder.image is not None and target.image is not None:
        error = decoder.image(latents).sigmoid() - target.image.float() / 255
        rows["image"] = magnitude(error).sum((-3, -2, -1)) * target.image_mask[:, None]
    return rows


def world_objective(
    rssm: RSSM,
    decoder: Decoder,
    harmony: Harmony | None,
    dtype: torch.dtype,
    absolute: bool,
    scales: Mapping[str, float],
    observed: Observed,
    target: Target,
) -> dict[str, Tensor]:
    """See `World.objective`."""
    terms = {name: rows.mean() for name, rows in world_losses(rssm, decoder, dtype, absolute, observed, target).items()}
    scaled = {name: scales[name] * loss for name, loss in terms.items()}
    if harmony is None:
        return scaled
    added = [scales[name] * (harmony(name, loss) - loss) for name, loss in terms.items()]
    return {**scaled, "harmony": torch.stack(added).sum()}
