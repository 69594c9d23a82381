"""One update: observe, world losses, every head's losses, one backward pass, one step of each optimiser."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.execution.eager import Execution
from manyheads.execution.ranks import ALONE, Ranks
from manyheads.experience.batch import Batch
from manyheads.heads.contract import Head, HeadBatch, HeadLosses, Loss, Metrics, evaluate_loss
from manyheads.learning.head_groups import LEAST, Found, HeadGroup, Optimizer, group_heads, join_group, leave_group
from manyheads.learning.latent_rewards import latent_rows
from manyheads.learning.optimizer import LaProp, grown_state
from manyheads.learning.update_metrics import UpdateMetrics
from manyheads.settings import OptimizerSettings
from manyheads.world.grow import Growth
from manyheads.world.model import Latent, World

WORLD = "world"


class HeadLabels(NamedTuple):
    """What a task says about (B, T) rows; see `HeadBatch`."""

    reward: Tensor
    """(B, T) float32, 0 where `is_first`"""
    is_terminal: Tensor
    """(B, T) bool: ended by the simulator's termination or the task's own"""
    mask: Tensor
    """(B, T) bool: rows on which the labels hold"""
    memory: Tensor | None = None
    """(B, T, M) float32: what the source remembers after each row; None where it remembers nothing"""


class Update(NamedTuple):
    """The result of one update."""

    numbers: UpdateMetrics
    """`world/dyn`, `TASK/policy`, ...: losses as they were minimised, and each head's own metrics"""
    latents: Latent | None
    """(B, T) posterior states before the update, without gradients; None on a frozen world"""

    @property
    def metrics(self) -> dict[str, float]:
        """The numbers, read from the device."""
        return self.numbers.read()


class Learner:
    """Trains a world and its heads jointly, or heads alone on a frozen world.

    The world and each head have their own optimiser and random generator: every rule of the optimiser is per
    tensor, so this equals one optimiser over all, and a head that joins later warms up on its own.

    On a GPU updates are `asynchronous`: the host never waits for the device, so whoever reads an update's metrics
    refuses what is not finite. On a CPU that is done before weights change.

    Heads that are alike train as one batch, where at least `stack_from` are (0: each by itself); that changes how fast
    an update is, and its numbers by rounding alone. A stack has places for `stack_room` heads.

    Where several learners train together, as `ranks`, each is given its part of a batch, and their update is the one
    that a single learner makes of the whole: all draw the whole batch's noise and use their part of it, percentiles
    are those of all returns, means weigh ranks by their rows, and gradients are averaged before they are clipped. Only
    where several heads share a batch does each rank choose where imagination starts among its own sequences. Heads
    train one by one then.
    """

    def __init__(
        self,
        world: World,
        heads: Mapping[str, Head],
        settings: OptimizerSettings,
        seed: int = 0,
        train_world: bool = True,
        ranks: Ranks = ALONE,
        starts_per_head: int | None = None,
        stack_from: int = LEAST,
        stack_room: int = 0,
    ) -> None:
        """`starts_per_head`: sequences of a batch that each head imagines from; None: all of them where the world is
        frozen or there is one head, else the batch is dealt out among the heads."""
        if WORLD in heads:
            raise ManyheadsError(f"A head can't be named {WORLD!r}: that is the world model's own name.")
        self.world, self.heads, self.train_world = world, dict(heads), train_world
        self.latent_rewards: dict[str, torch.nn.Module] = {}
        """by task: what computes its reward from latents; trained elsewhere"""
        self.asynchronous = world.device.type != "cpu"
        self.ranks, self.starts_per_head = ranks, starts_per_head
        self.stack_from, self.stack_room = stack_from if ranks.count == 1 else 0, stack_room
        self._settings, self._seed = settings, seed
        self.optimizers: dict[str, LaProp] = {}
        self.generators: dict[str, torch.Generator] = {}
        for name, module in {WORLD: world, **self.heads}.items():
            self._own(name, module, trains=name != WORLD or train_world)
        for head in self.heads.values():
            head.ranks = ranks
        least = self.stack_from if self.stack_from and world.execution.stacks else len(self.heads) + 1
        self.groups: list[HeadGroup] = group_heads(self.heads, self.optimizers, least, stack_room)

    def update(self, batch: Batch, labels: Mapping[str, HeadLabels], vector_mask: Tensor, image_mask: Tensor) -> Update:
        """One update from a batch; with a frozen world, of the heads alone.

        vector_mask (B, V) and image_mask (B,) say which entries of each sequence are reconstructed. Raises
        ManyheadsError, with nothing changed, when a loss or a gradient is not finite; not where it is asynchronous.
        What it returns is then valid until the next update.
        """
        return self._run(Learner._update, batch, labels, vector_mask, image_mask)

    def update_heads(self, batch: Batch, latents: Latent, labels: Mapping[str, HeadLabels]) -> Update:
        """One update of the heads alone from stored states (B, T, ...) of the batch's rows."""
        return self._run(Learner._update_heads, batch, latents, labels)

    def losses(
        self, batch: Batch, labels: Mapping[str, HeadLabels], vector_mask: Tensor, image_mask: Tensor
    ) -> tuple[dict[str, Tensor], Latent]:
        """The scaled terms (`world/dyn`, `TASK/policy`) whose sum an update minimises, and the (B, T) latents.

        With learned weights of the world's losses, `world/harmony` is what the weights add. Of heads that train as one
        batch the terms are sums over them (`TASK+TASK/policy`).
        """
        terms, heads, latents = self._losses(batch, labels, vector_mask, image_mask)
        losses = self._all_losses(terms, heads)
        return {name: evaluate_loss(loss)[0] for name, loss in losses.items()}, latents

    def join(self, name: str, head: Head) -> None:
        """A head that trains from the next update on. Where a stack of heads like it has room it takes a place there,
        and nothing is compiled again; the others' numbers stay as they are where `starts_per_head` is given or the
        world is frozen."""
        if name in self.heads or name == WORLD:
            raise ManyheadsError(f"There is a {name!r} in training already: give the head another name.")
        self.heads[name] = head
        self._own(name, head)
        join_group(self.groups, name, head, self.optimizers)
        self._forget_captured()

    def leave(self, name: str) -> Head:
        """Ends the training of a head, which keeps what it has learned."""
        leave_group(self.groups, name)
        self.optimizers.pop(name, None)
        del self.generators[name]
        self._forget_captured()
        return self.heads.pop(name)

    def state_dict(self, head: str | None = None) -> dict[str, Tensor]:
        """Optimisers and generators as named tensors; with the weights, enough to continue bit for bit.

        With a `head`, those of the world and of that head alone.
        """
        chosen = [name for name in self.generators if head is None or name in (WORLD, head)]
        state = {f"{name}/generator": self.generators[name].get_state() for name in chosen}
        for name, optimizer in self.optimizers.items():
            if name not in chosen:
                continue
            state |= {f"{name}/optimizer/{key}": tensor for key, tensor in optimizer.state_dict().items()}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor], saved: SpaceLayout | None = None) -> None:
        """Restores what `state_dict` returned, under the layout `saved` if the world has grown since; a head of which
        nothing was saved starts afresh."""
        layout = self.world.interface
        for name, generator in self.generators.items():
            if f"{name}/generator" in state:
                generator.set_state(state[f"{name}/generator"].cpu())
        for name, optimizer in self.optimizers.items():
            prefix = f"{name}/optimizer/"
            own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            if own:
                growth = Growth.of(self.world if name == WORLD else self.heads[name], saved or layout, layout)
                optimizer.load_state_dict(grown_state(own, growth, optimizer.parameters))

    def _run(self, update: Callable[..., Update], batch: Batch, *args: Any) -> Update:
        """The update, compiled and captured as the world's execution does; equal shapes share what is compiled."""
        execution = self.world.execution
        dry_run = partial(self._dry_run, update, batch, *args)
        pictures = None if batch.image is None else len(batch.image)
        with execution.warmup((self, update, batch.shape, pictures), dry_run):
            bound: Callable[..., Update] = update.__get__(self)  # equal at every call, so it is captured once
            if self.ranks.count > 1:
                return bound(batch, *args)
            return execution.capture(bound, self.generators.values())(batch, *args)

    def _own(self, name: str, module: torch.nn.Module, trains: bool = True) -> None:
        """Gives a module a random generator, and an optimiser where there is anything to train."""
        self.generators[name] = _generator(self._seed, name, self.world.device)
        if trains and any(parameter.requires_grad for parameter in module.parameters()):
            self.optimizers[name] = LaProp(dict(module.named_parameters()), self._settings)

    def _forget_captured(self) -> None:
        for update in (Learner._update, Learner._update_heads):
            self.world.execution.release(update.__get__(self))

    def _dry_run(self, update: Callable[..., Update], *args: Any) -> None:
        """The update on a copy, where the last argument is the execution to use; its numbers mean nothing."""
        *given, execution = args
        copied = copy.deepcopy(self)
        copied.world.execution, copied.asynchronous = execution, True
        update(copied, *given)

    def _update(
        self, batch: Batch, labels: Mapping[str, HeadLabels], vector_mask: Tensor, image_mask: Tensor
    ) -> Update:
        terms, heads, latents = self._losses(batch, labels, vector_mask, image_mask)
        metrics = self._minimize(terms, heads)
        if self.train_world:
            self.world.update_norm(self.ranks.gather(batch.vector), self.ranks.gather(vector_mask))
        return Update(metrics, latents.detach())

    def _update_heads(self, batch: Batch, latents: Latent, labels: Mapping[str, HeadLabels]) -> Update:
        return Update(self._minimize({}, self._head_losses(batch, latents.detach(), labels)), None)

    def _losses(
        self, batch: Batch, labels: Mapping[str, HeadLabels], vector_mask: Tensor, image_mask: Tensor
    ) -> tuple[dict[str, Tensor], list[Found], Latent]:
        sequences, rows = batch.shape
        noise = self.world.draw_noise(sequences * self.ranks.count, rows, generator=self.generators[WORLD])
        noise = self.ranks.take(noise)
        start, reset = Latent(batch.deter, batch.stoch), batch.is_first | batch.reset_state
        with torch.set_grad_enabled(self.train_world):
            observed = self.world.observe(
                batch.image, batch.vector, batch.previous_action, reset, start, noise, vector_mask, batch.pictured
            )
        terms: dict[str, Tensor] = {}
        if self.train_world:
            terms = self.world.scaled_losses(
                observed, batch.image, batch.vector, vector_mask, image_mask, batch.pictured
            )
        return terms, self._head_losses(batch, observed.latents, labels), observed.latents

    def _head_losses(self, batch: Batch, latents: Latent, labels: Mapping[str, HeadLabels]) -> list[Found]:
        """What each group of heads learns from."""

        def rows(name: str) -> HeadBatch:
            own, generator = labels[name], self.generators[name]
            if name in self.latent_rewards:
                with torch.no_grad():
                    reward = self.latent_rewards[name](latent_rows(batch, latents))
                own = own._replace(reward=reward.float())
            return HeadBatch(
                latents,
                batch.action,
                own.reward,
                batch.is_first,
                batch.is_last,
                own.is_terminal,
                own.mask,
                self._start_index(own.mask, generator),
                own.memory,
            )

        for name in self.heads:
            if name not in labels:
                raise ManyheadsError(f"The batch has no labels for {name!r}; every head needs its own.")
        batches = {name: rows(name) for name in self.heads}
        functions = [partial(group.losses, batches, self.world, self.generators) for group in self.groups]
        safe = self.ranks.count == 1 and all(group.parallel_safe for group in self.groups)
        return self._run_parallel(functions) if safe else [function() for function in functions]

    def _start_index(self, mask: Tensor, generator: torch.Generator) -> Tensor | None:
        """Equally many of its own sequences for every head, at random, repeated where there are few; None: all."""
        sequences, count = mask.shape[0], self.starts_per_head
        if count is None:
            if len(self.heads) == 1 or not self.train_world:
                return None
            count = max(1, sequences // len(self.heads))
        else:
            count = max(1, count // self.ranks.count)
        own = mask.any(1)
        order = (torch.rand(sequences, generator=generator, device=mask.device) - own.float()).argsort()
        positions = torch.arange(count, device=mask.device)
        return order[positions % own.sum().clamp(min=1)]

    def _minimize(self, terms: Mapping[str, Tensor], found: Sequence[Found]) -> UpdateMetrics:
        losses = self._weighed(self._all_losses(terms, found), found)
        now = {name: loss for name, loss in losses.items() if isinstance(loss, Tensor)}
        deferred = {name: loss for name, loss in losses.items() if not isinstance(loss, Tensor)}
        _, *results = self._run_parallel([partial(_backward, now.values()), *deferred.values()])
        _backward([loss for loss, _ in results])
        done: dict[str, tuple[Tensor, Metrics]] = {name: (loss, {}) for name, loss in now.items()}
        norms = self._gradient_norms()
        metrics = self._metrics(terms, found, done | dict(zip(deferred, results, strict=True)), norms)
        if not self.asynchronous:
            self._require_finite(metrics)
        for name, optimizer in self._stepping().items():
            optimizer.step(norms[name], self.world.execution)
        for group, own in zip(self.groups, found, strict=True):
            group.after_update(own.new_state)
        return metrics

    def _weighed(self, losses: Mapping[str, Loss], found: Sequence[Found]) -> Mapping[str, Loss]:
        """Each loss so that its mean over ranks is the mean over all their rows."""
        rows = {
            f"{group.label}/{term}": count
            for group, own in zip(self.groups, found, strict=True)
            if isinstance(own, HeadLosses)
            for term, count in own.rows.items()
        }
        if not rows:
            return losses
        own = torch.stack([x.float() for x in rows.values()])
        weights = dict(zip(rows, own * self.ranks.count / self.ranks.total(own).clamp(min=1), strict=True))
        return {name: _times(loss, weights[name]) if name in weights else loss for name, loss in losses.items()}

    def _metrics(
        self,
        terms: Mapping[str, Tensor],
        found: Sequence[Found],
        done: Mapping[str, tuple[Tensor, Metrics]],
        norms: Mapping[str, Tensor],
    ) -> UpdateMetrics:
        """All numbers of an update, from its losses and their metrics `done`: those first that must be finite."""
        numbers = {f"{WORLD}/{name}": done[f"{WORLD}/{name}"][0].detach() for name in terms}
        others: dict[str, Tensor] = {}
        for group, own in zip(self.groups, found, strict=True):
            results = {term: done[f"{group.label}/{term}"] for term in own.losses}
            metrics = {name: value for _, more in results.values() for name, value in more.items()}
            losses = {term: loss.detach() for term, (loss, _) in results.items()}
            first, rest = group.numbers(losses, {**own.metrics, **metrics})
            numbers |= first
            others |= rest
        if WORLD in norms:
            numbers[f"{WORLD}/gradient_norm"] = torch.linalg.vector_norm(norms[WORLD])
        for group in self.groups:
            if group.label in norms:
                numbers |= group.norms(norms[group.label])
        must_be_finite = len(numbers)
        if self.train_world and self.world.harmony is not None:
            others |= {f"{WORLD}/{name}_weight": weight for name, weight in self.world.harmony.weights().items()}
        numbers |= others
        values = torch.stack([x.float() for x in numbers.values()])
        self.ranks.average_([values])
        return UpdateMetrics(tuple(numbers), must_be_finite, values)

    def _stepping(self) -> dict[str, Optimizer]:
        """The world's optimiser, and that of each group of heads."""
        world = {WORLD: self.optimizers[WORLD]} if self.train_world else {}
        return world | {group.label: group.optimizer for group in self.groups if group.optimizer is not None}

    def _gradient_norms(self) -> dict[str, Tensor]:
        stepping = self._stepping()
        if self.ranks.count > 1:
            self.ranks.average_([x for optimizer in stepping.values() for x in optimizer.gradients()])
        return {name: optimizer.gradient_norms() for name, optimizer in stepping.items()}

    def _all_losses(self, terms: Mapping[str, Tensor], found: Sequence[Found]) -> dict[str, Loss]:
        """The world's and the heads' losses by `world/term` and `TASK/term`."""
        losses: dict[str, Loss] = {f"{WORLD}/{name}": loss for name, loss in terms.items()}
        return losses | {
            f"{group.label}/{term}": loss
            for group, own in zip(self.groups, found, strict=True)
            for term, loss in own.losses.items()
        }

    def _run_parallel(self, functions: Sequence[Callable[[], Any]]) -> list[Any]:
        """In parallel, unless images make the backward pass by far the longest on a CPU: then each gets all cores."""
        execution = self.world.execution
        if self.world.decoder.image is not None and self.world.device.type == "cpu":
            return Execution.run_parallel(execution, functions)
        return execution.run_parallel(functions)

    def _require_finite(self, metrics: UpdateMetrics) -> None:
        try:
            metrics.require_finite("the weights are as they were before this update")
        except ManyheadsError:
            for optimizer in self._stepping().values():
                optimizer.zero_grad()
            raise


def _times(loss: Loss, weight: Tensor) -> Loss:
    """The loss times a number."""
    if isinstance(loss, Tensor):
        return loss * weight

    def deferred() -> tuple[Tensor, Metrics]:
        value, metrics = evaluate_loss(loss)
        return value * weight, metrics

    return deferred


def _backward(losses: Iterable[Tensor]) -> None:
    if losses := [*losses]:
        torch.autograd.backward(torch.stack(losses).sum())


def _generator(seed: int, name: str, device: torch.device) -> torch.Generator:
    """A generator that depends on the seed and its owner's name, not on its neighbours."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little", signed=True))
