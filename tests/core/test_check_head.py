"""Every registered head keeps the contract, and `check_head` finds each promise that is broken."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import BaseModel

from manyheads.errors import ManyheadsError
from manyheads.heads.contract import Head, HeadBatch, HeadLosses
from manyheads.heads.kind import HeadContext, HeadKind
from manyheads.registry import registry
from manyheads.testing import check_head


class Settings(BaseModel):
    """Nothing to set."""


class Sound(Head):
    """Plays zeros and first choices; learns the mean reward."""

    def __init__(self, context: HeadContext) -> None:
        super().__init__()
        self.mean = torch.nn.Parameter(torch.zeros(()))
        blocks = zip(context.mask.blocks, context.interface.blocks, strict=True)
        choices = [torch.eye(size)[0] * float(here) for here, size in blocks]
        self.action = torch.cat([torch.zeros(len(context.interface.continuous)), *choices])

    def act(
        self, world: Any, latent: Any, state: Any, is_first: Any, generator: Any = None
    ) -> tuple[torch.Tensor, Any]:
        return self.action.expand(len(latent.deter), -1).clone(), state

    def losses(self, batch: HeadBatch, world: Any, generator: Any = None) -> HeadLosses:
        return HeadLosses({"reward": ((batch.reward - self.mean).square() * batch.mask).mean()})


def kind(change: Callable[[Sound], None] = lambda head: None) -> HeadKind:
    def build(context: HeadContext) -> Head:
        head = Sound(context)
        change(head)
        return head

    return HeadKind("test/sound", Settings, build)


@pytest.mark.parametrize("name", sorted(registry().heads))
def test_registered_head(name: str) -> None:
    check_head(registry().heads[name].load())


def test_sound_head_passes() -> None:
    check_head(kind())


def losing(loss: Callable[[Sound, HeadBatch, Any], torch.Tensor]) -> Callable[[Sound], None]:
    def change(head: Sound) -> None:
        head.losses = lambda batch, world, generator=None: HeadLosses({"x": loss(head, batch, world)})

    return change


def measuring(number: Any) -> Callable[[Sound], None]:
    def change(head: Sound) -> None:
        head.losses = lambda *_: HeadLosses({"x": head.mean + 1}, {"m": number})

    return change


def writing_in_losses(head: Sound) -> None:
    def losses(*_: Any) -> HeadLosses:
        head.mean.data += 1
        return HeadLosses({"x": head.mean - head.mean.detach()})

    head.losses = losses


def acting(act: Callable[[Any], torch.Tensor]) -> Callable[[Sound], None]:
    def change(head: Sound) -> None:
        head.act = lambda world, latent, state, *_: (act(head.action.expand(64, -1).clone()), state)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (acting(lambda a: a[:, :3]), r"act gave shape \(64, 3\)"),
        (acting(lambda a: a / 0), "an action is not finite"),
        (acting(lambda a: a.requires_grad_()), "an action carries a gradient"),
        (acting(lambda a: a + torch.rand(())), "the same generator gave other actions"),
        (acting(lambda a: a + torch.eye(7)[1]), "it acts at y, which the instance lacks"),
        (acting(lambda a: a + torch.eye(7)[6]), "it acts at absent q"),
        (acting(lambda a: a * 0.5), "q is not a one-hot choice"),
        (losing(lambda head, batch, world: batch.reward * head.mean), r"loss x has shape \(4, 6\)"),
        (losing(lambda head, batch, world: head.mean / 0), "loss x is nan"),
        (losing(lambda head, batch, world: head.mean + torch.rand(())), "the same generator gave loss x"),
        (losing(lambda head, batch, world: (1 + head.mean) * batch.reward.sum()), "rows that it does not own changed"),
        (losing(lambda head, batch, world: torch.ones((), requires_grad=True)), "no parameter of the head has a"),
        (
            losing(lambda head, batch, world: head.mean + next(world.parameters()).sum()),
            "imagination trains the world",
        ),
        (lambda head: setattr(head, "losses", lambda *_: HeadLosses({})), "losses gave nothing to learn from"),
        (measuring(torch.ones(2)), r"metric m is not a tensor \(\)"),
        (measuring(1.0), r"metric m is not a tensor \(\)"),
        (writing_in_losses, "losses writes to mean; return it in new_state"),
    ],
)
def test_broken_promise_is_named(change: Callable[[Sound], None], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_head(kind(change))


def test_head_that_refuses_every_interface() -> None:
    def build(*arguments: Any) -> Head:
        raise ManyheadsError("no boats here")

    with pytest.raises(AssertionError, match="takes no actions at all: no boats here"):
        check_head(HeadKind("test/none", Settings, build))
