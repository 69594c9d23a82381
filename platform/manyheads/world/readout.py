"""Readouts: what an environment measures, predicted from the latent, so that rewards can be computed in imagination."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from manyheads.world.distributions import bernoulli_loss
from manyheads.world.networks import MLP, Linear
from manyheads.world.running_norm import RunningNorm
from manyheads.world.sizes import WorldSettings

ERROR_RATE = 0.02
"""share of a new batch in the running errors"""


class SignalRows(NamedTuple):
    """What was measured in the rows of a batch, for one readout."""

    values: Tensor
    """(B, T, S) in the order of the readout's signals"""
    mask: Tensor
    """(B,) float32: 1 where a sequence is of the readout's environment; other rows train nothing"""


class ReadoutPrediction(NamedTuple):
    """What a readout expects in states (...)."""

    signals: dict[str, Tensor]
    """(...) each, in the signal's unit"""
    continues: Tensor
    """(...) probability that the simulator does not end the episode in this state"""


class Readout(nn.Module):
    """The signals of one environment, and whether its simulator ends the episode, from a latent's feature.

    It regresses standardised values by mean squared error: a specification compares a signal with numbers in its own
    unit, so the expected value counts, equally fine for metres and for radians a second. An angle is regressed as
    cosine and sine.
    """

    error: Tensor

    def __init__(self, settings: WorldSettings, signals: Mapping[str, str]) -> None:
        """`signals`: the kind of each signal (`continuous`, `angle`, ...) by name."""
        super().__init__()
        self.signals = dict(signals)
        kinds = [*self.signals.values()]
        self.plain = [i for i, kind in enumerate(kinds) if kind != "angle"]
        self.angles = [i for i, kind in enumerate(kinds) if kind == "angle"]
        columns = len(self.plain) + 2 * len(self.angles)
        self.layers = MLP(settings.feature_size, settings.units, layers=2)
        self.columns = Linear(settings.units, columns)
        self.continues = Linear(settings.units, 1)
        self.norm = RunningNorm(columns)
        self.register_buffer("error", torch.ones(len(kinds)))

    def forward(self, feature: Tensor) -> ReadoutPrediction:
        """From features (..., F)."""
        hidden = self.layers(feature)
        columns = self.norm.denormalize(self.columns(hidden))
        plain, angles = len(self.plain), len(self.angles)
        names = [*self.signals]
        found = {names[i]: columns[..., at] for at, i in enumerate(self.plain)}
        for at, i in enumerate(self.angles):
            found[names[i]] = torch.atan2(columns[..., plain + angles + at], columns[..., plain + at])
        return ReadoutPrediction(found, self.continues(hidden).squeeze(-1).sigmoid())

    def losses(self, feature: Tensor, rows: SignalRows, is_terminal: Tensor) -> tuple[Tensor, Tensor]:
        """The loss () of (B, T, F) features, and the error (S) of each signal: mean squared error over its variance."""
        hidden, target = self.layers(feature), self.norm.normalize(self._to_columns(rows.values))
        share = (rows.mask / (rows.mask.sum() * feature.shape[1]).clamp(min=1))[:, None]
        errors = (share[..., None] * (self.columns(hidden) - target).square()).sum((0, 1))
        ends = bernoulli_loss(self.continues(hidden).squeeze(-1), 1 - is_terminal.float())
        return errors.sum() + (share * ends).sum(), self._by_signal(errors.detach())

    @torch.no_grad()
    def update_norm(self, rows: SignalRows) -> None:
        """Counts these rows in the running mean and deviation of each signal."""
        columns = self._to_columns(rows.values)
        self.norm.update(columns, rows.mask[:, None].expand(-1, columns.shape[-1]))

    @torch.no_grad()
    def update_error(self, errors: Tensor, rows: SignalRows) -> None:
        """Averages errors (S) into the running ones."""
        self.error.lerp_(errors, ERROR_RATE * (rows.mask.sum() > 0).float())

    def _to_columns(self, values: Tensor) -> Tensor:
        """(..., S) as what is regressed: plain values, cosines, sines."""
        angles = values[..., self.angles]
        return torch.cat([values[..., self.plain], angles.cos(), angles.sin()], -1)

    def _by_signal(self, columns: Tensor) -> Tensor:
        plain, angles = len(self.plain), len(self.angles)
        errors = columns.new_zeros(len(self.signals))
        errors[self.plain] = columns[:plain]
        errors[self.angles] = (columns[plain : plain + angles] + columns[plain + angles :]) / 2
        return errors
