"""One update of all that learns: world, heads, readouts, networks of rewards; by one learner, or by several ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from manyheads.execution.trees import map_tensors
from manyheads.experience.batch import WindowIndex
from manyheads.experience.latent_table import LatentLayout
from manyheads.learning.latent_rewards import LatentRewards
from manyheads.learning.learner import Learner
from manyheads.learning.prefetch import TrainingBatch, UpdateOutput
from manyheads.learning.readouts import ReadoutLearner


class UpdateStep:
    """Learns from training batches; with several ranks the root has the batch, and gives each rank its part.

    Readouts and networks of rewards are small: the root trains them on the whole batch, and the others take over its.
    """

    def __init__(
        self, learner: Learner, readouts: ReadoutLearner, latent_rewards: LatentRewards, layout: LatentLayout
    ) -> None:
        self.learner, self.readouts, self.latent_rewards, self.layout = learner, readouts, latent_rewards, layout
        self.ranks = learner.ranks

    def __call__(self, work: TrainingBatch) -> UpdateOutput:
        """One update from a whole batch."""
        if self.ranks.count == 1:
            return self._update(work, work)
        parts = [self._part(work, rank) for rank in range(self.ranks.count)]
        return self._update(self._moved(self.ranks.share(parts)), self._moved(work))

    def follow(self) -> None:
        """Makes the root's updates with it, until it asks for no more."""
        while (part := self.ranks.share(None)) is not None:
            self._update(self._moved(part), None)

    def dismiss(self) -> None:
        """Ends `follow` on all other ranks."""
        if self.ranks.count > 1:
            self.ranks.share([None] * self.ranks.count)

    def send_state(self) -> None:
        """All that is learned, from the root to ranks that wait in `receive_state`."""
        if self.ranks.count > 1:
            self.ranks.share([self._state()] * self.ranks.count)

    def receive_state(self) -> None:
        """Begins where the root is."""
        state: Mapping[str, Any] = self.ranks.share(None)
        self.learner.world.load_state_dict(state["world"])
        for name, head in self.learner.heads.items():
            head.load_state_dict(state["heads"][name])
        for key, readout in self.learner.world.readouts.items():
            readout.load_state_dict(state["readouts"][key])
        for name in self.latent_rewards.networks:
            self.latent_rewards.load_state_dict(name, state["rewards"][name])
        self.learner.load_state_dict(state["learner"])

    def _state(self) -> dict[str, Any]:
        world = self.learner.world
        state = {
            "world": world.state_dict(),
            "heads": {name: head.state_dict() for name, head in self.learner.heads.items()},
            "readouts": {key: readout.state_dict() for key, readout in world.readouts.items()},
            "rewards": {name: self.latent_rewards.state_dict(name) for name in self.latent_rewards.networks},
            "learner": self.learner.state_dict(),
        }
        return map_tensors(lambda x: x.detach().cpu(), state)

    def _update(self, part: TrainingBatch, whole: TrainingBatch | None) -> UpdateOutput:
        if part.latents is not None:
            update = self.learner.update_heads(part.batch, part.latents, part.labels)
        else:
            update = self.learner.update(part.batch, part.labels, part.vector_mask, part.image_mask)
        own = part.latents or update.latents
        assert own is not None
        latents, numbers = own.map(self.ranks.gather), update.numbers
        if whole is not None:
            numbers = numbers.and_more(self.readouts.update(latents, whole.signals, whole.batch.is_terminal))
            masks = {name: labels.mask for name, labels in whole.labels.items()}
            numbers = numbers.and_more(self.latent_rewards.update(whole.batch, latents, masks))
        self.ranks.broadcast_(self._of_the_root())
        return UpdateOutput(numbers, None if update.latents is None else self.layout.pack(*latents))

    def _of_the_root(self) -> list[Tensor]:
        """What it alone trains."""
        if self.ranks.count == 1:
            return []
        modules = [*self.learner.world.readouts.values(), *self.latent_rewards.networks.values()]
        return [x for module in modules for x in module.state_dict().values() if x.is_floating_point()]

    def _part(self, work: TrainingBatch, rank: int) -> TrainingBatch:
        return map_tensors(lambda x: x.chunk(self.ranks.count)[rank].clone(), work)

    def _moved(self, work: TrainingBatch) -> TrainingBatch:
        device = self.learner.world.device
        return map_tensors(lambda x: x.to(device), work)


def dealt(work: TrainingBatch, where: WindowIndex, ranks: int) -> tuple[TrainingBatch, WindowIndex]:
    """The batch in an order in which each rank's part has rows of every instance, as far as there are enough."""
    if ranks == 1:
        return work, where
    by_instance = work.batch.instance.argsort(stable=True)
    order = torch.cat([by_instance[rank::ranks] for rank in range(ranks)])
    rows = order.numpy()
    moved = map_tensors(lambda x: x[order], work._replace(batch=work.batch.with_every_image()))
    return moved, WindowIndex(where.streams[rows], where.starts[rows], where.length, where.missing[rows])
