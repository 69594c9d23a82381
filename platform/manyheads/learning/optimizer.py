"""LaProp with adaptive gradient clipping: DreamerV3's optimiser, over many tensors at once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from manyheads.errors import ManyheadsError
from manyheads.world.execution import Execution


class OptimizerSettings(BaseModel):
    """DreamerV3's numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate: float = Field(default=4e-5, gt=0, description="learning rate after the warmup")
    warmup: int = Field(default=1000, ge=0, description="updates until the full rate; the first has rate 0")
    clip: float = Field(default=0.3, gt=0, description="largest norm of a gradient, relative to its tensor")
    clip_floor: float = Field(default=1e-3, gt=0, description="the norm that a smaller tensor counts as")
    momentum: float = Field(default=0.9, ge=0, lt=1)
    decay: float = Field(default=0.999, ge=0, lt=1, description="of the squared gradient's average")
    epsilon: float = Field(default=1e-20, gt=0)


class LaProp:
    """Momentum over RMS-scaled, per-tensor clipped gradients of named parameters.

    Averages are flat: one region passes over all of them, whatever number of tensors they belong to.
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

    @torch.no_grad()
    def gradient_norms(self) -> Tensor:
        """Euclidean norm of each tensor's gradient (tensors,), before clipping."""
        return torch.stack(torch._foreach_norm(self._gradients()))

    @torch.no_grad()
    def step(self, norms: Tensor, execution: Execution) -> None:
        """One update from the parameters' gradients, whose `gradient_norms` these are; it then drops them."""
        s, parameters = self.settings, self._parameters
        own = torch.stack(torch._foreach_norm(parameters)).clamp(min=s.clip_floor)
        excess = (norms / (s.clip * own)).clamp(min=1)
        gradient = torch.cat([g.flatten() for g in torch._foreach_div(self._gradients(), [*excess.unbind()])])
        rate = s.rate * (self._count / s.warmup).clamp(max=1) if s.warmup else s.rate
        self._count += 1
        bias = (1 - s.decay**self._count).float()
        rate = (rate / (1 - s.momentum**self._count)).float()
        change = execution.region(laprop)(gradient, self._square, self._momentum, bias, rate, s)
        torch._foreach_sub_(parameters, self._shaped(change))
        self.forget_gradients()

    def forget_gradients(self) -> None:
        """Drops the gradients, as `step` does after use."""
        for parameter in self._parameters:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """All state as named tensors."""
        return {name: tensor.clone() for name, tensor in self._tensors().items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave; raises ManyheadsError where it belongs to other parameters."""
        mine = self._tensors()
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

    def _gradients(self) -> list[Tensor]:
        return [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters]

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


def laprop(
    gradient: Tensor, square: Tensor, momentum: Tensor, bias: Tensor, rate: Tensor, s: OptimizerSettings
) -> Tensor:
    """By how much parameters fall (N,), after both averages took in their clipped gradient.

    `bias` () corrects the average of squares for its start at 0; `rate` () is so corrected for momentum's.
    """
    square.lerp_(gradient.square(), 1 - s.decay)
    scale = (square / bias).sqrt() + s.epsilon
    momentum.lerp_(gradient / scale, 1 - s.momentum)
    return momentum * rate
