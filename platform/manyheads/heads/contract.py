"""What a head promises: it acts on a world's latent state and learns one task there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from manyheads.execution.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from manyheads.world.model import Latent, World

Metrics = Mapping[str, Tensor]
"""scalars () worth plotting, without gradients"""

DeferredLoss = Callable[[], tuple[Tensor, Metrics]]
"""A function that returns a loss and metrics, which may run in another thread, or stream of a GPU, during the backward
pass of other losses: its graph shares nothing with theirs or with the batch, it draws no random numbers, and it writes
nothing that they read."""

Loss = Tensor | DeferredLoss
"""a scalar, already scaled"""

State = Any
"""what a head remembers between two steps of acting: a tree of tensors with the environments as first axis"""


def evaluate_loss(loss: Loss) -> tuple[Tensor, Metrics]:
    """The loss and its metrics, called for where it is deferred."""
    return (loss, {}) if isinstance(loss, Tensor) else loss()


class HeadLosses(NamedTuple):
    """What `Head.losses` returns."""

    losses: Mapping[str, Loss]
    """by name; their sum is minimised"""
    metrics: Metrics = MappingProxyType({})
    new_state: Mapping[str, Tensor] = MappingProxyType({})
    """new values of the head's buffers, by name, that `after_update` writes"""
    rows: Mapping[str, Tensor] = MappingProxyType({})
    """of how many rows () each loss is the mean, where several `ranks` train together and have different numbers"""


class HeadBatch(NamedTuple):
    """What one head learns from: B sequences of T rows with their posterior states and labels."""

    latents: Latent
    """deter (B, T, D), stoch (B, T, G, C); attached to the world's graph in joint training"""
    action: Tensor
    """(B, T, A) chosen in each row, flat and unclipped"""
    reward: Tensor
    """(B, T) float32 earned on arriving at the row, 0 where `is_first`"""
    is_first: Tensor
    """(B, T) bool: the row starts an episode"""
    is_last: Tensor
    """(B, T) bool: the stored episode ends here, by termination or truncation"""
    is_terminal: Tensor
    """(B, T) bool: ended by the simulator's termination or the task's own"""
    mask: Tensor
    """(B, T) bool: rows whose reward and `is_terminal` are this task's; other rows train nothing of this head"""
    start_index: Tensor | None = None
    """(K,) int64: sequences whose rows imagination starts from, where several heads share a batch; None: all"""
    memory: Tensor | None = None
    """(B, T, M) float32: what the task's source remembers after each row; None where it remembers nothing"""

    def imagination_starts(self) -> HeadBatch:
        """The sequences of `start_index`: imagination starts from each of their rows."""
        index = self.start_index
        if index is None:
            return self
        return HeadBatch(
            latents=self.latents.map(lambda x: x[index]),
            action=self.action[index],
            reward=self.reward[index],
            is_first=self.is_first[index],
            is_last=self.is_last[index],
            is_terminal=self.is_terminal[index],
            mask=self.mask[index],
            memory=None if self.memory is None else self.memory[index],
        )


class Head(nn.Module, ABC):
    """One task's learner on the latent state; see `actor_critic` for the standard one.

    On a GPU acting and whole updates are captured as CUDA graphs: change state tensors in place, and never read a
    number (`.item()`).
    """

    ranks: Ranks = ALONE
    """the learners that train it together, each with its part of a batch; `losses` may use them"""

    greedy: bool = False
    """whether `act` gives the most likely action instead of a drawn one; heads that draw none need not look"""

    @contextmanager
    def deterministic(self, on: bool = True) -> Iterator[None]:
        """Within it, `act` gives the most likely actions, if it is `on`."""
        before, self.greedy = self.greedy, on or self.greedy
        try:
            yield
        finally:
            self.greedy = before

    def initial_state(self, n: int) -> State:
        """What n environments remember before their first step."""
        return ()

    @property
    def needs_signals(self) -> bool:
        """Whether acting needs the signals measured with each observation: the task's source remembers them."""
        return False

    @abstractmethod
    def act(
        self,
        world: World,
        latent: Latent,
        state: State,
        is_first: Tensor,
        generator: torch.Generator | None = None,
        signals: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """A sampled flat action (N, A), unclipped, for N posterior states, and what to remember.

        Where `is_first` (N,), an episode starts and `state` is that of another one. A head that `needs_signals` is
        given them, (N, S) in the order of its task's signals, but not in imagination; to others none are given.
        """

    @property
    def learns(self) -> bool:
        """Whether there is anything to train; without it, `losses` gives none."""
        return True

    @property
    def parallel_safe(self) -> bool:
        """Whether `losses` writes to nothing, so that other heads' losses may be computed at the same time."""
        return False

    @abstractmethod
    def losses(self, batch: HeadBatch, world: World, generator: torch.Generator | None = None) -> HeadLosses:
        """The losses of one update; no attribute is written."""

    def can_start_from(self, other: Head) -> bool:
        """Whether this head may begin with what another one has learned."""
        return False

    def start_from(self, other: Head) -> None:
        """Begins with what another one has learned that is not of its reward."""

    @torch.no_grad()
    def after_update(self, new_state: Mapping[str, Tensor]) -> None:
        """Copies `new_state` into the buffers of those names, once after each optimiser step.

        Subclasses call it, then update target networks.
        """
        for name, value in new_state.items():
            self.get_buffer(name).copy_(value)


@runtime_checkable
class RewardPredictor(Protocol):
    """A head that predicts rewards and continuation, so that others may plan with it."""

    def predict(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """The expected reward (N, T) of arriving in states with features (N, T, F), and the discounted probability to
        continue from them."""
