"""Training of readouts after each update of the world, on detached latents: the world's gradients stay as they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from manyheads.execution.eager import Execution
from manyheads.experience.batch import Batch
from manyheads.experience.stream import RecordedInstance
from manyheads.learning.optimizer import LaProp
from manyheads.learning.update_metrics import UpdateMetrics
from manyheads.settings import OptimizerSettings
from manyheads.world.model import Latent, World
from manyheads.world.readout import Readout, SignalRows

EAGER = Execution()
"""so small a step is not worth compiling"""


def signal_rows(
    batch: Batch, instances: Sequence[RecordedInstance], readouts: Mapping[str, Readout]
) -> dict[str, SignalRows]:
    """The batch's rows for each readout, by dynamics key, each signal from the column recorded under its name."""
    found = {}
    for key, readout in readouts.items():
        values = torch.zeros(*batch.shape, len(readout.signals), device=batch.signals.device)
        mask = torch.zeros(batch.shape[0], device=batch.signals.device)
        for number in sorted({*batch.instance.tolist()}):
            instance = instances[number]
            if instance.dynamics_key == key and {*readout.signals} <= {*instance.signals}:
                own = (batch.instance == number).nonzero().squeeze(1)
                columns = [instance.signals.index(name) for name in readout.signals]
                values[own] = batch.signals[own][..., columns]
                mask[own] = 1
        found[key] = SignalRows(values, mask)
    return found


class ReadoutLearner:
    """Trains a world's readouts, each with its own optimiser; it draws no random numbers."""

    def __init__(self, world: World, settings: OptimizerSettings, fresh: Collection[str] = ()) -> None:
        """`fresh`: dynamics keys of readouts that have not been trained yet."""
        self.world, self.fresh = world, fresh
        self.optimizers = {
            key: LaProp(dict(readout.named_parameters()), settings) for key, readout in world.readouts.items()
        }

    def update(self, latents: Latent, rows: Mapping[str, SignalRows], is_terminal: Tensor) -> UpdateMetrics:
        """One step of each readout from latents (B, T); metrics: each signal's error, `readout/ENVIRONMENT/SIGNAL`."""
        feature = latents.detach().feature
        names, values = [], []
        for key, own in rows.items():
            readout, optimizer = self.world.readouts[key], self.optimizers[key]
            readout.update_norm(own)
            loss, errors = readout.losses(feature, own, is_terminal)
            torch.autograd.backward(loss)
            optimizer.step(optimizer.gradient_norms(), EAGER)
            readout.update_error(errors, own)
            names += [f"readout/{key.partition(' ')[0]}/{name}" for name in readout.signals]
            values.append(errors)
        return UpdateMetrics(tuple(names), 0, torch.cat(values) if values else feature.new_zeros(0))

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """The optimisers' state by dynamics key."""
        return {key: optimizer.state_dict() for key, optimizer in self.optimizers.items()}
