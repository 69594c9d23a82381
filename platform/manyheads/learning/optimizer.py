"""LaProp with adaptive gradient clipping: DreamerV3's optimiser, over many tensors at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from manyheads.errors import ManyheadsError
from manyheads.execution.eager import Execution
from manyheads.settings import OptimizerSettings
from manyheads.world.grow import Growth


class LaProp:
    """Momentum over RMS-scaled, per-tensor clipped gradients of named parameters (Ziyin et al. 2020).

    Averages are flat: one compiled function passes over all of them, whatever number of tensors they belong to.
    """

    def __init__(self, parameters: Mapping[str, Tensor], settings: OptimizerSettings) -> None:
        self.settings = settings
        self.parameters = {name: tensor for name, tensor in parameters.items() if tensor.requires_grad}
        self._parameters = list(self.parameters.values())
        self._sizes = [p.numel() for p in self._parameters]
        device = self._parameters[0].device if self._parameters else None
        self._square = torch.zeros(sum(self._sizes), device=device)
        self._momentum = torch.zeros_like(self._square)
        self._count = torch.zeros((), dtype=torch.float64, device=device)
        self._late = torch.zeros(0, dtype=torch.int64, device=device)
        """(M,) positions of elements that joined later, when the world grew"""
        self._born = torch.zeros(0, device=device)
        """(M,) steps that had been made before they joined"""

    @torch.no_grad()
    def gradients(self) -> list[Tensor]:
        """Each tensor's gradient, zeros where it has none."""
        return filled_gradients(self._parameters)

    @torch.no_grad()
    def gradient_norms(self) -> Tensor:
        """Euclidean norm of each tensor's gradient (tensors,), before clipping."""
        return torch.stack(torch._foreach_norm(self.gradients()))

    @torch.no_grad()
    def step(self, norms: Tensor, execution: Execution) -> None:
        """One step from the parameters' gradients, whose `gradient_norms` these are; then drops them."""
        s, parameters = self.settings, self._parameters
        own = torch.stack(torch._foreach_norm(parameters)).clamp(min=s.agc_pmin)
        excess = (norms / (s.agc * own)).clamp(min=1)
        gradient = torch.cat([g.flatten() for g in torch._foreach_div(self.gradients(), [*excess.unbind()])])
        late = self.late_elements(gradient) if self.has_late else None
        change = execution.compile(laprop)(gradient, *self.averages[:2], *self.corrections(s, self._count), s)
        if late is not None:
            self.correct_late(late, change)
        self._count += 1
        torch._foreach_sub_(parameters, self._shaped(change))
        self.zero_grad()

    @property
    def averages(self) -> tuple[Tensor, Tensor, Tensor]:
        """Squares (N,), momentum (N,) and the count () of steps; a stack keeps them in its own tensors."""
        return self._square, self._momentum, self._count

    @averages.setter
    def averages(self, averages: tuple[Tensor, Tensor, Tensor]) -> None:
        self._square, self._momentum, self._count = averages

    @property
    def has_late(self) -> bool:
        """Whether some elements joined later, when the world grew."""
        return len(self._late) > 0

    def late_elements(self, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient, squares and momentum (M,) of those elements before a step."""
        return gradient[self._late], self._square[self._late], self._momentum[self._late]

    def correct_late(self, before: tuple[Tensor, Tensor, Tensor], change: Tensor) -> None:
        """Gives them the change (N,) and momentum that their own count of steps asks for, after a step."""
        bias, rate = self.corrections(self.settings, self._count - self._born)
        change[self._late] = laprop(*before, bias, rate, self.settings)
        self._momentum[self._late] = before[2]

    @staticmethod
    def corrections(s: OptimizerSettings, steps: Tensor) -> tuple[Tensor, Tensor]:
        """`bias` and `rate` of `laprop` after so many steps."""
        rate = s.lr * (steps / s.warmup).clamp(max=1) if s.warmup else s.lr
        return (1 - s.beta2 ** (steps + 1)).float(), (rate / (1 - s.beta1 ** (steps + 1))).float()

    def zero_grad(self) -> None:
        """Drops the gradients, as `step` does after use."""
        drop_gradients(self._parameters)

    def state_dict(self) -> dict[str, Tensor]:
        """All state as named tensors; `born/NAME` only of parameters with elements that joined later."""
        born = self._shaped(torch.zeros_like(self._square).index_copy(0, self._late, self._born))
        later = {f"born/{name}": own for name, own in zip(self.parameters, born, strict=True) if own.any()}
        return {name: tensor.clone() for name, tensor in (self._tensors() | later).items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state_dict` returned; raises ManyheadsError where it belongs to other parameters."""
        born = torch.zeros_like(self._square)
        every = {f"born/{name}": own for name, own in zip(self.parameters, self._shaped(born), strict=True)}
        mine = self._tensors() | {name: own for name, own in every.items() if name in state}
        if odd := sorted(mine.keys() ^ state.keys()):
            side = "lacks" if odd[0] in mine else "has an unknown"
            raise ManyheadsError(f"The saved optimiser state {side} {odd[0]!r}: it belongs to another model.")
        for name, tensor in mine.items():
            if tensor.shape != state[name].shape:
                raise ManyheadsError(
                    f"The saved optimiser state of {name!r} has shape {tuple(state[name].shape)}, "
                    f"the model {tuple(tensor.shape)}: it belongs to another model."
                )
            tensor.copy_(state[name])
        self._late = born.nonzero().squeeze(1)
        self._born = born[self._late]

    def _split(self, flat: Tensor) -> list[Tensor]:
        return list(torch.split(flat, self._sizes))

    def _shaped(self, flat: Tensor) -> list[Tensor]:
        """Views of one flat tensor in the parameters' shapes."""
        return [part.view_as(p) for part, p in zip(self._split(flat), self._parameters, strict=True)]

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {"count": self._count}
        squares, momenta = self._shaped(self._square), self._shaped(self._momentum)
        for name, square, momentum in zip(self.parameters, squares, momenta, strict=True):
            tensors[f"square/{name}"], tensors[f"momentum/{name}"] = square, momentum
        return tensors


def filled_gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Each tensor's gradient; one that has none gets zeros."""
    found = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        found.append(parameter.grad)
    return found


def drop_gradients(parameters: Iterable[Tensor]) -> None:
    """Leaves the tensors without gradients."""
    for parameter in parameters:
        parameter.grad = None


@torch.no_grad()
def grown_state(state: Mapping[str, Tensor], growth: Growth, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A saved `LaProp.state_dict` for parameters that have grown since: averages of new elements are 0, and their steps
    are counted from here on. By the count of the others, their first steps would be several times too large."""
    state = {**state, **{f"born/{name}": _born(state, name) for name in parameters if f"square/{name}" in state}}
    for part, fill in (("square", 0.0), ("momentum", 0.0), ("born", float(state.get("count", 0.0)))):
        saved = {name: state[f"{part}/{name}"] for name in parameters if f"{part}/{name}" in state}
        fresh = {name: torch.full_like(parameter, fill, device="cpu") for name, parameter in parameters.items()}
        state |= {f"{part}/{name}": own for name, own in growth.remap(saved, fresh).items()}
    return state


def _born(state: Mapping[str, Tensor], name: str) -> Tensor:
    return state.get(f"born/{name}", torch.zeros_like(state[f"square/{name}"]))


def laprop(
    gradient: Tensor, square: Tensor, momentum: Tensor, bias: Tensor, rate: Tensor, s: OptimizerSettings
) -> Tensor:
    """By how much parameters (N,) decrease; both running averages are updated with the clipped gradient.

    `bias` () corrects the average of squares for its start at 0; `rate` () includes that correction of the momentum.
    """
    square.lerp_(gradient.square(), 1 - s.beta2)
    scale = (square / bias).sqrt() + s.eps
    momentum.lerp_(gradient / scale, 1 - s.beta1)
    return momentum * rate
