"""One update: observe, world losses, every head's losses, one backward pass, one step of each optimiser."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from manyheads.errors import ManyheadsError
from manyheads.experience.batch import Batch
from manyheads.heads.contract import Head, HeadBatch, Loss, found_now
from manyheads.learning.ahead import compile_ahead
from manyheads.learning.numbers import Numbers
from manyheads.learning.optimizer import LaProp, OptimizerSettings
from manyheads.world.execution import Execution
from manyheads.world.model import Latent, World

R = TypeVar("R")

WORLD = "world"


class HeadLabels(NamedTuple):
    """What a task says about (B, T) rows; see `HeadBatch`."""

    reward: Tensor
    """(B, T) float32, 0 where first"""
    terminal: Tensor
    """(B, T) bool: the simulator's terminal or the task's own"""
    owned: Tensor
    """(B, T) bool: rows on which the labels hold"""


class Update(NamedTuple):
    """What one update gives back."""

    numbers: Numbers
    """`world/dyn`, `TASK/policy`, ...: losses as they were minimised, and each head's own numbers"""
    latents: Latent | None
    """(B, T) posterior states before the update, cut off from the graph; None on a frozen world"""

    @property
    def metrics(self) -> dict[str, float]:
        """The numbers, read."""
        return self.numbers.read()


class Learner:
    """Trains a world and its heads jointly, or heads alone on a frozen world.

    The world and each head have an optimiser and a random generator of their own: every rule in the optimiser
    is per tensor, so this equals one optimiser over all, and a head that joins later warms up on its own.

    On a GPU updates are `deferred`: the host never waits for the device, so whoever reads an update's numbers
    refuses what is not finite. Otherwise that is done before weights change.
    """

    def __init__(
        self,
        world: World,
        heads: Mapping[str, Head],
        settings: OptimizerSettings,
        seed: int = 0,
        train_world: bool = True,
    ) -> None:
        if WORLD in heads:
            raise ManyheadsError(f"A head can't be named {WORLD!r}: that is the world model's own name.")
        self.world, self.heads, self.train_world = world, dict(heads), train_world
        self.deferred = world.device.type != "cpu"
        trained = {**({WORLD: world} if train_world else {}), **self.heads}
        self.optimizers = {name: LaProp(dict(m.named_parameters()), settings) for name, m in trained.items()}
        self.generators = {name: _generator(seed, name, world.device) for name in (WORLD, *self.heads)}

    def update(self, batch: Batch, labels: Mapping[str, HeadLabels], vector_mask: Tensor, image_mask: Tensor) -> Update:
        """One update from a batch; with a frozen world, of the heads alone.

        vector_mask (B, V) and image_mask (B,) say in which places each sequence is reconstructed. Raises
        ManyheadsError, with nothing changed, when a loss or a gradient is not finite; deferred, it does not. What
        it returns then holds until the next update.
        """
        return self._steadily("_update", batch.shape, batch, labels, vector_mask, image_mask)

    def losses(
        self, batch: Batch, labels: Mapping[str, HeadLabels], vector_mask: Tensor, image_mask: Tensor
    ) -> tuple[dict[str, Tensor], Latent]:
        """The scaled terms (`world/dyn`, `TASK/policy`) whose sum an update minimises; (B, T) latents.

        Learned weights leave the terms as they are and have one of their own, `world/harmony`: what they add.
        """
        losses, latents = self._losses(batch, labels, vector_mask, image_mask)
        return {name: found_now(loss) for name, loss in losses.items()}, latents

    def _losses(
        self, batch: Batch, labels: Mapping[str, HeadLabels], vector_mask: Tensor, image_mask: Tensor
    ) -> tuple[dict[str, Loss], Latent]:
        noise = self.world.draw_noise(*batch.shape, generator=self.generators[WORLD])
        start = Latent(batch.deter, batch.stoch)
        with torch.set_grad_enabled(self.train_world):
            observed = self.world.observe(batch.image, batch.vector, batch.previous_action, batch.first, start, noise)
        losses: dict[str, Loss] = {}
        if self.train_world:
            terms = self.world.objective(observed, batch.image, batch.vector, vector_mask, image_mask)
            losses = {f"{WORLD}/{name}": loss for name, loss in terms.items()}
        losses |= self._head_losses(observed.latents, batch.last, labels)
        return losses, observed.latents

    def update_heads(self, latents: Latent, last: Tensor, labels: Mapping[str, HeadLabels]) -> Update:
        """One update of the heads alone from given states (B, T, ...) and `last` (B, T)."""
        return self._steadily("_update_heads", last.shape, latents, last, labels)

    def state(self) -> dict[str, Tensor]:
        """Optimisers and generators as named tensors; with the weights, enough to go on bit for bit."""
        state = {f"{name}/generator": g.get_state() for name, g in self.generators.items()}
        for name, optimizer in self.optimizers.items():
            state |= {f"{name}/optimizer/{key}": tensor for key, tensor in optimizer.state().items()}
        return state

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave; a head of which nothing was saved starts afresh."""
        for name, generator in self.generators.items():
            if f"{name}/generator" in state:
                generator.set_state(state[f"{name}/generator"].cpu())
        for name, optimizer in self.optimizers.items():
            prefix = f"{name}/optimizer/"
            own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            if own:
                optimizer.load(own)

    def _steadily(self, update: str, shape: Sequence[int], *args: Any) -> Update:
        """The `update` of that name; those of one shape call the same regions."""
        execution = self.world.execution
        function: Callable[..., Update] = getattr(self, update)
        with execution.steady(self, update, shape) as compiles:
            if compiles:
                compile_ahead(self, update, *args)
            return execution.whole(function, self.generators.values())(*args)

    def _update(
        self, batch: Batch, labels: Mapping[str, HeadLabels], vector_mask: Tensor, image_mask: Tensor
    ) -> Update:
        losses, latents = self._losses(batch, labels, vector_mask, image_mask)
        numbers = self._descend(losses)
        if self.train_world:
            self.world.take_in(batch.vector, vector_mask)
        return Update(numbers, latents.detach())

    def _update_heads(self, latents: Latent, last: Tensor, labels: Mapping[str, HeadLabels]) -> Update:
        return Update(self._descend(self._head_losses(latents.detach(), last, labels)), None)

    def _head_losses(self, latents: Latent, last: Tensor, labels: Mapping[str, HeadLabels]) -> dict[str, Loss]:
        def of(name: str) -> dict[str, Loss]:
            own, generator = labels[name], self.generators[name]
            starts = self._starts(own.owned, generator) if len(self.heads) > 1 else None
            batch = HeadBatch(latents, own.reward, own.terminal, last, own.owned, starts)
            terms = self.heads[name].losses(batch, self.world, generator)
            return {f"{name}/{term}": loss for term, loss in terms.items()}

        for name in self.heads:
            if name not in labels:
                raise ManyheadsError(f"The batch has no labels for {name!r}; every head needs its own.")
        if all(head.independent for head in self.heads.values()):
            found = self._beside([partial(of, name) for name in self.heads])
        else:
            found = [of(name) for name in self.heads]
        return {term: loss for terms in found for term, loss in terms.items()}

    def _starts(self, owned: Tensor, generator: torch.Generator) -> Tensor:
        """As many sequences for every head, its own ones: at random, several times where there are few."""
        sequences = owned.shape[0]
        mine = owned.any(1)
        order = (torch.rand(sequences, generator=generator, device=owned.device) - mine.float()).argsort()
        places = torch.arange(max(1, sequences // len(self.heads)), device=owned.device)
        return order[places % mine.sum().clamp(min=1)]

    def _descend(self, losses: Mapping[str, Loss]) -> Numbers:
        now = {name: loss for name, loss in losses.items() if isinstance(loss, Tensor)}
        later = {name: loss for name, loss in losses.items() if not isinstance(loss, Tensor)}
        _, *found = self._beside([partial(_trace_back, now.values()), *later.values()])
        _trace_back(found)
        known = now | dict(zip(later, found, strict=True))
        numbers: dict[str, float | Tensor] = {name: known[name].detach() for name in losses}
        norms = {name: optimizer.gradient_norms() for name, optimizer in self.optimizers.items()}
        numbers |= {f"{name}/gradient_norm": torch.linalg.vector_norm(own) for name, own in norms.items()}
        refusable = len(numbers)
        for name, head in self.heads.items():
            numbers |= {f"{name}/{key}": value for key, value in head.metrics().items()}
        if self.train_world and self.world.harmony is not None:
            numbers |= {f"{WORLD}/{name}_weight": weight for name, weight in self.world.harmony.weights().items()}
        measured = Numbers(tuple(numbers), refusable, torch.stack([self._on_device(x) for x in numbers.values()]))
        if not self.deferred:
            self._refuse_what_is_not_finite(measured)
        for name, optimizer in self.optimizers.items():
            optimizer.step(norms[name], self.world.execution)
        for head in self.heads.values():
            head.after_update()
        return measured

    def _beside(self, works: Sequence[Callable[[], Any]]) -> list[Any]:
        """What does not wait for each other: side by side, unless images make the way back much the longest; then all
        cores of a CPU go through one after the other."""
        execution = self.world.execution
        if self.world.decoder.image is not None and self.world.device.type == "cpu":
            return Execution.beside(execution, works)
        return execution.beside(works)

    def _on_device(self, number: float | Tensor) -> Tensor:
        if isinstance(number, Tensor):
            return number.detach().float()
        return torch.full((), number, dtype=torch.float32, device=self.world.device)

    def _refuse_what_is_not_finite(self, numbers: Numbers) -> None:
        try:
            numbers.refuse_what_is_not_finite("the weights are as they were before this update")
        except ManyheadsError:
            for optimizer in self.optimizers.values():
                optimizer.forget_gradients()
            raise


def _trace_back(losses: Iterable[Tensor]) -> None:
    if losses := [*losses]:
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]


def _generator(seed: int, name: str, device: torch.device) -> torch.Generator:
    """A generator that depends on the seed and its owner's name alone, not on its neighbours."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little", signed=True))
