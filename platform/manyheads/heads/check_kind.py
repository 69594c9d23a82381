"""What `manyheads.testing.check_head` looks at: a kind of head built on small worlds of several interfaces."""

from __future__ import annotations

import torch
from pydantic import BaseModel
from torch import Tensor

from manyheads.environment.contract import REWARD, Signal
from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.heads.contract import Head, HeadBatch, evaluate_loss
from manyheads.heads.kind import HeadContext, HeadKind, HeadTask
from manyheads.rewards.sources import PythonReward
from manyheads.world.model import Latent, World
from manyheads.world.readout import Readout
from manyheads.world.sizes import WorldSettings

SIZE = WorldSettings(size="demo", deter=32, hidden=8, groups=4, classes=4, units=16)
INTERFACE = SpaceLayout(vector=("a", "b"), continuous=("x", "y"), discrete=(("p", 2), ("q", 3)))
INSTANCES = {
    "continuous actions": SpaceLayout(vector=("a",), continuous=("x",)),
    "discrete actions": SpaceLayout(vector=("a",), discrete=(("q", 3),)),
    "both kinds of actions": INTERFACE,
}
ROWS = (4, 6)
SIGNALS = (REWARD, Signal("height", "m"))
TASK = HeadTask("check", PythonReward(lambda s: s["height"], ["height"], "height"), SIGNALS, dynamics_key="check")


def check_head_kind(kind: HeadKind, settings: BaseModel | None, seed: int) -> None:
    """Checks a kind over each interface that it takes; see `manyheads.testing.check_head`."""
    torch.manual_seed(seed)
    refused = []
    for what, instance in INSTANCES.items():
        world = World(INTERFACE, SIZE)
        world.readouts[TASK.dynamics_key] = Readout(SIZE, {"height": "continuous"})
        try:
            head = kind.build(HeadContext(INTERFACE, INTERFACE.mask(instance), SIZE, TASK, settings or kind.settings()))
        except ManyheadsError as error:
            refused.append(str(error))
            continue
        where = f"head {kind.name} with {what}"
        assert isinstance(head, Head), f"{where}: build made {type(head).__name__}, not a Head"
        _check_actions(where, head, instance, world, seed)
        _check_losses(where, head, world, seed)
    assert len(refused) < len(INSTANCES), f"head {kind.name} takes no actions at all: {' '.join(refused)}"


def _check_actions(where: str, head: Head, instance: SpaceLayout, world: World, seed: int) -> None:
    def act() -> Tensor:
        generator, is_first = torch.Generator().manual_seed(seed), torch.ones(64, dtype=torch.bool)
        action, _ = head.act(world, _latents(world, (64,), seed), head.initial_state(64), is_first, generator)
        return action

    action = act()
    assert action.shape == (64, INTERFACE.action_size), f"{where}: act gave shape {tuple(action.shape)}"
    assert action.isfinite().all(), f"{where}: an action is not finite"
    assert not action.requires_grad, f"{where}: an action carries a gradient"
    assert action.equal(act()), f"{where}: the same generator gave other actions"
    mask, column = INTERFACE.mask(instance), len(INTERFACE.continuous)
    for here, name, values in zip(mask.continuous, INTERFACE.continuous, action.T, strict=False):
        assert here or not values.any(), f"{where}: it acts at {name}, which the instance lacks"
    for here, (name, size) in zip(mask.blocks, INTERFACE.discrete, strict=True):
        block = action[:, column : column + size]
        one_hot = ((block == 0) | (block == 1)).all() and (block.sum(-1) == int(here)).all()
        assert one_hot, f"{where}: {name} is not a one-hot choice" if here else f"{where}: it acts at absent {name}"
        column += size


def _check_losses(where: str, head: Head, world: World, seed: int) -> None:
    def losses(batch: HeadBatch) -> dict[str, Tensor]:
        found = head.losses(batch, world, torch.Generator().manual_seed(seed))
        return {name: evaluate_loss(loss)[0] for name, loss in found.losses.items()}

    batch = _batch(world, seed)
    found = losses(batch)
    if not head.learns:
        assert not found, f"{where}: it has nothing to learn, it says, but losses gave {', '.join(found)}"
        return
    assert found, f"{where}: losses gave nothing to learn from"
    for name, loss in found.items():
        assert loss.shape == (), f"{where}: loss {name} has shape {tuple(loss.shape)}, not ()"
        assert loss.isfinite(), f"{where}: loss {name} is {loss.item()}"
    _same(where, "the same generator gave", found, losses(batch))
    lies = torch.where(batch.mask, batch.reward, 100.0)
    _same(where, "rewards of rows that it does not own changed", found, losses(batch._replace(reward=lies)))
    _check_pure(where, head, batch, world, seed)
    _check_step(where, head, batch, world, seed)


def _check_pure(where: str, head: Head, batch: HeadBatch, world: World, seed: int) -> None:
    before = {name: x.clone() for name, x in head.state_dict().items()}
    head.losses(batch, world, torch.Generator().manual_seed(seed))
    for name, x in head.state_dict().items():
        assert x.equal(before[name]), f"{where}: losses writes to {name}; return it in new_state"


def _check_step(where: str, head: Head, batch: HeadBatch, world: World, seed: int) -> None:
    found = head.losses(batch, world, torch.Generator().manual_seed(seed))
    results = [evaluate_loss(loss) for loss in found.losses.values()]
    torch.autograd.backward(sum((loss for loss, _ in results), torch.zeros(())))
    learned = {p: p.grad for p in head.parameters() if p.grad is not None}
    assert learned, f"{where}: no parameter of the head has a gradient"
    assert all(grad.isfinite().all() for grad in learned.values()), f"{where}: a gradient is not finite"
    assert not any(p.grad is not None for p in world.parameters()), f"{where}: imagination trains the world"
    with torch.no_grad():
        for parameter, grad in learned.items():
            parameter.sub_(grad, alpha=1e-3)
    head.after_update(found.new_state)
    for metrics in (found.metrics, *(metrics for _, metrics in results)):
        for name, number in metrics.items():
            scalar = isinstance(number, Tensor) and number.shape == () and not number.requires_grad
            assert scalar, f"{where}: metric {name} is not a tensor () without gradients"


def _same(where: str, what: str, before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    for name, loss in before.items():
        assert loss.equal(after[name]), f"{where}: {what} loss {name}, {loss.item()} became {after[name].item()}"


def _latents(world: World, rows: tuple[int, ...], seed: int) -> Latent:
    generator = torch.Generator().manual_seed(seed)
    size = world.settings
    deter = torch.randn(*rows, size.deter, generator=generator).tanh()
    classes = torch.randint(size.classes, (*rows, size.groups), generator=generator)
    return Latent(deter, torch.nn.functional.one_hot(classes, size.classes).float())


def _batch(world: World, seed: int) -> HeadBatch:
    """Detached latents, an episode's end in the middle, and a sequence that another instance owns."""
    reward = torch.rand(ROWS, generator=torch.Generator().manual_seed(seed))
    is_last = torch.zeros(ROWS, dtype=torch.bool)
    is_last[0, 3] = is_last[1, 2] = True
    is_terminal = is_last.clone()
    is_terminal[1] = False
    mask = torch.ones(ROWS, dtype=torch.bool)
    mask[3] = False
    action = torch.zeros(*ROWS, INTERFACE.action_size)
    is_first = torch.zeros(ROWS, dtype=torch.bool)
    is_first[:, 1:] = is_last[:, :-1]
    return HeadBatch(_latents(world, ROWS, seed), action, reward, is_first, is_last, is_terminal, mask)
