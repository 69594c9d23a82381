"""Learners that train one model together, each on its part of a batch: as one learner would on the whole of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class Ranks:
    """One learner by itself, which needs nobody; the base of those that are several."""

    rank = 0
    count = 1

    def take(self, x: Tensor) -> Tensor:
        """This rank's part of the first axis, which is as long on every rank: of noise that all draw alike."""
        return x

    def gather(self, x: Tensor) -> Tensor:
        """The parts of all ranks, one after another along the first axis."""
        return x

    def total(self, x: Tensor) -> Tensor:
        """The sum of `x` over all ranks."""
        return x

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replaces tensors by their means over all ranks."""

    def broadcast_(self, tensors: Sequence[Tensor]) -> None:
        """Replaces tensors by those of the root."""

    def share(self, values: Sequence[Any] | None) -> Any:
        """This rank's one of the root's values, of which there is one for each rank; on other ranks they are None."""
        assert values is not None
        return values[0]

    def __deepcopy__(self, memo: object) -> Ranks:
        return ALONE  # what a copy is tried on waits for nobody


ALONE = Ranks()


class ProcessRanks(Ranks):
    """The processes of torch's default process group; `root` is the rank that writes.

    Objects and batches travel by a group of gloo's, tensors of the model by the default one (NCCL for GPUs). On a
    failure of any rank the calls of all others raise RuntimeError.
    """

    def __init__(self, root: int = 0) -> None:
        self.rank, self.count, self.root = dist.get_rank(), dist.get_world_size(), root
        self._objects = dist.new_group(backend="gloo")

    def take(self, x: Tensor) -> Tensor:
        return x.chunk(self.count)[self.rank]

    def gather(self, x: Tensor) -> Tensor:
        own = x.to(torch.uint8) if x.dtype == torch.bool else x
        parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(self.count)]
        dist.all_gather(parts, own.contiguous())
        return torch.cat(parts).to(x.dtype)

    def total(self, x: Tensor) -> Tensor:
        summed = x.clone()
        dist.all_reduce(summed)
        return summed

    def average_(self, tensors: Sequence[Tensor]) -> None:
        flat = torch.cat([x.flatten() for x in tensors])
        dist.all_reduce(flat)
        self._spread(flat / self.count, tensors)

    def broadcast_(self, tensors: Sequence[Tensor]) -> None:
        if tensors:
            flat = torch.cat([x.detach().flatten().float() for x in tensors])
            dist.broadcast(flat, self.root)
            self._spread(flat, tensors)

    def share(self, values: Sequence[Any] | None) -> Any:
        received: list[Any] = [None]
        dist.scatter_object_list(received, None if values is None else [*values], self.root, self._objects)
        return received[0]

    def _spread(self, flat: Tensor, tensors: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for x, own in zip(tensors, torch.split(flat, [x.numel() for x in tensors]), strict=True):
                x.copy_(own.view_as(x))
