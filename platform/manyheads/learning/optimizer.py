"""LaProp with adaptive gradient clipping: DreamerV3's optimiser, over many tensors at once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from manyheads.errors import ManyheadsError
from manyheads.execution.eager import Execution
from manyheads.settings import OptimizerSettings


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

    @torch.no_grad()
    def gradients(self) -> list[Tensor]:
        """Each tensor's gradient, zeros where it has none."""
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return [parameter.grad for parameter in self._parameters if parameter.grad is not None]

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
        rate = s.lr * (self._count / s.warmup).clamp(max=1) if s.warmup else s.lr
        self._count += 1
        bias = (1 - s.beta2**self._count).float()
        rate = (rate / (1 - s.beta1**self._count)).float()
        change = execution.compile(laprop)(gradient, self._square, self._momentum, bias, rate, s)
        torch._foreach_sub_(parameters, self._shaped(change))
        self.zero_grad()

    def zero_grad(self) -> None:
        """Drops the gradients, as `step` does after use."""
        for parameter in self._parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Tensor]:
        """All state as named tensors."""
        return {name: tensor.clone() for name, tensor in self._tensors().items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state_dict` returned; raises ManyheadsError where it belongs to other parameters."""
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
    """By how much parameters (N,) decrease; both running averages are updated with the clipped gradient.

    `bias` () corrects the average of squares for its start at 0; `rate` () includes that correction of the momentum.
    """
    square.lerp_(gradient.square(), 1 - s.beta2)
    scale = (square / bias).sqrt() + s.eps
    momentum.lerp_(gradient / scale, 1 - s.beta1)
    return momentum * rate
