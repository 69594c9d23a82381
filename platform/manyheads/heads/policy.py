"""Acting: each environment's latent state follows its observations, and its head chooses the action."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.execution.trees import tree_tensors
from manyheads.heads.contract import Head, State
from manyheads.world.model import Latent, World


class ActResult(NamedTuple):
    """One step of acting in N environments: flat actions (N, A) as sampled, and the latents they were chosen in."""

    action: npt.NDArray[np.float32]
    deter: npt.NDArray[np.float32]
    stoch: npt.NDArray[np.float32]


class PolicySnapshot(NamedTuple):
    """What a collector elsewhere needs to act: weights of the world, its readouts and the heads, and their version."""

    version: int
    """updates of the world and the heads so far"""
    world: Mapping[str, Tensor]
    heads: Mapping[str, Mapping[str, Tensor]]
    readouts: Mapping[str, Mapping[str, Tensor]]
    """by dynamics key; heads that plan act by them"""

    @classmethod
    def of(cls, world: World, heads: Mapping[str, Head], version: int) -> PolicySnapshot:
        """Copies of the weights as they are now, on the CPU."""

        def copied(module: nn.Module) -> dict[str, Tensor]:
            return {name: x.detach().cpu().clone() for name, x in module.state_dict().items()}

        own = {name: copied(head) for name, head in heads.items()}
        return cls(version, copied(world), own, {key: copied(readout) for key, readout in world.readouts.items()})


class VectorPolicy:
    """Acts in N environments; environment i follows the head `policies[i]`, or acts uniformly at random for None."""

    def __init__(
        self,
        world: World,
        heads: Mapping[str, Head],
        policies: Sequence[str | None],
        layouts: Sequence[SpaceLayout],
        seed: int,
        capture: bool = True,
    ) -> None:
        """`layouts`: what each environment has of the world's interface. `capture`: a step is captured where the
        device can, which pays for policies that live long."""
        self.world, self.heads, self.policies = world, heads, tuple(policies)
        self.device = world.device
        self._generator = torch.Generator(self.device).manual_seed(seed)
        self._members = {
            name: torch.tensor([i for i, own in enumerate(policies) if own == name], device=self.device)
            for name in dict.fromkeys(policies)
        }
        size = len(self.policies)
        self._vector_mask = world.vector_masks(layouts)
        self._action_mask = torch.from_numpy(world.interface.action_masks(layouts)).to(self.device)
        self._latent = world.initial(size)
        self._action = torch.zeros(size, world.interface.action_size, device=self.device)
        self._states: dict[str, State] = {
            name: heads[name].initial_state(len(members)) for name, members in self._members.items() if name is not None
        }
        self._captured_step = world.execution.capture(self._step, [self._generator]) if capture else self._step

    @torch.no_grad()
    def act(
        self,
        image: npt.NDArray[np.uint8] | None,
        vector: npt.NDArray[np.float32],
        is_first: npt.NDArray[np.bool_],
        signals: npt.NDArray[np.float64] | None = None,
    ) -> ActResult:
        """Updates each environment's latent with its observation and samples an unclipped action from its head.

        image (N, H, W, C) or None, vector (N, V); where `is_first` (N,) the latent is reset. Heads that
        `needs_signals` need signals (N, S), each environment's own from the left, in their order. Remembers latents,
        actions and what heads remember for the next call.
        """
        pixels = None if image is None else torch.from_numpy(image).to(self.device)
        action, latent = self._captured_step(
            pixels,
            torch.from_numpy(vector).to(self.device),
            torch.from_numpy(is_first).to(self.device),
            self._measured(signals),
        )
        return ActResult(action.cpu().numpy(), latent.deter.cpu().numpy(), latent.stoch.cpu().numpy())

    def _measured(self, signals: npt.NDArray[np.float64] | None) -> Tensor | None:
        """The signals as float32, as replay gives them, where a head needs them."""
        needy = [name for name in self._states if self.heads[name].needs_signals]
        if not needy:
            return None
        if signals is None:
            raise ManyheadsError(
                f"The reward of {needy[0]} remembers earlier rows, so its head acts on the signals, too: "
                "hand them over with each observation (`agent.act(observation, info)`)."
            )
        return torch.from_numpy(signals.astype(np.float32)).to(self.device)

    def _step(
        self, pixels: Tensor | None, vector: Tensor, is_first: Tensor, signals: Tensor | None = None
    ) -> tuple[Tensor, Latent]:
        noise = self.world.draw_noise(len(self.policies), generator=self._generator)
        latent = self.world.step(pixels, vector, self._action, is_first, self._latent, noise, self._vector_mask)
        action, states = torch.zeros_like(self._action), dict(self._states)
        for name, members in self._members.items():
            if name is None:
                action[members] = random_action(self.world.interface, len(members), self._generator)
            else:
                own = latent.map(itemgetter(members))
                head, measured = self.heads[name], {}
                if signals is not None and head.needs_signals:
                    measured = {"signals": signals[members]}
                action[members], states[name] = head.act(
                    self.world, own, states[name], is_first[members], self._generator, **measured
                )
        action *= self._action_mask
        self._remember(action, latent, states)
        return action, latent

    def _remember(self, action: Tensor, latent: Latent, states: Mapping[str, State]) -> None:
        """In place: on a GPU a captured step reads and writes these tensors."""
        kept, new = (self._action, self._latent, self._states), (action, latent, dict(states))
        for old, value in zip(tree_tensors(kept), tree_tensors(new), strict=True):
            old.copy_(value)

    def snapshot(self, version: int) -> PolicySnapshot:
        """Copies of the weights as they are now, on the CPU."""
        return PolicySnapshot.of(self.world, self.heads, version)

    def load_snapshot(self, snapshot: PolicySnapshot) -> None:
        """Acts with these weights from now on; latents and the heads' states stay."""
        self.world.load_state_dict(snapshot.world)
        for name, head in self.heads.items():
            head.load_state_dict(snapshot.heads[name])
        for key, readout in self.world.readouts.items():
            readout.load_state_dict(snapshot.readouts[key])

    def state_dict(self) -> dict[str, Tensor]:
        """What a bit-exact continuation needs besides the weights."""
        states = {f"state/{name}/{i}": x for name in self._states for i, x in self._numbered(name)}
        return {
            "deter": self._latent.deter,
            "stoch": self._latent.stoch,
            "action": self._action,
            "generator": self._generator.get_state(),
            **states,
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""
        self._remember(state["action"], Latent(state["deter"], state["stoch"]), self._states)
        for name in self._states:
            for i, x in self._numbered(name):
                x.copy_(state[f"state/{name}/{i}"])
        self._generator.set_state(state["generator"].cpu())

    def _numbered(self, name: str) -> Iterator[tuple[int, Tensor]]:
        return enumerate(tree_tensors(self._states[name]))


def random_action(interface: SpaceLayout, count: int, generator: torch.Generator) -> Tensor:
    """Uniform flat actions (count, A): continuous entries in [-1, 1], one choice of each block."""
    device = generator.device
    parts = [torch.rand(count, len(interface.continuous), generator=generator, device=device) * 2 - 1]
    for size in interface.blocks:
        choice = torch.randint(size, (count, 1), generator=generator, device=device)
        parts.append((choice == torch.arange(size, device=device)).float())
    return torch.cat(parts, dim=-1)
