"""Named entries for observations and actions: what an instance has, and the interface of a world."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, field_serializer, field_validator

from manyheads.errors import ManyheadsError

T = TypeVar("T")
LONG = 4
"""successive entries of one name that a file has as a range"""
MAX_ENTRIES = 1_000_000
"""of a range in a file"""


class SpaceLayout(BaseModel):
    """One table of named entries: an optional image, vector entries, continuous actions, one-hot blocks.

    The flat action vector holds the continuous entries first, then each discrete block as a one-hot vector. Vector
    entries are called `ENVIRONMENT NAME`, so that numbers of unrelated simulators never share one; without the
    environment (`NAME`) all environments that have such an entry share it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: tuple[int, int, int] | None = None
    """height, width, channels"""
    vector: tuple[str, ...] = ()
    continuous: tuple[str, ...] = ()
    discrete: tuple[tuple[str, int], ...] = ()
    """(name, choices); one name with two numbers of choices is two entries"""

    @field_validator("vector", "continuous", mode="before")
    @classmethod
    def _read(cls, names: Any) -> Any:
        return tuple(_from_ranges(names)) if isinstance(names, list) else names

    @field_serializer("vector", "continuous", when_used="json")
    def _write(self, names: tuple[str, ...]) -> list[str]:
        return _to_ranges(names)

    @property
    def action_size(self) -> int:
        return len(self.continuous) + sum(size for _, size in self.discrete)

    @property
    def blocks(self) -> tuple[int, ...]:
        """Sizes of the one-hot blocks."""
        return tuple(size for _, size in self.discrete)

    def shared(self) -> SpaceLayout:
        """This layout with vector entries that environments share by their names."""
        return self.model_copy(update={"vector": tuple(map(short_name, self.vector))})

    def naming(self, instance: SpaceLayout) -> SpaceLayout:
        """An instance's layout with the names that its vector entries have here: shared ones where there are such."""
        known = {*self.vector}
        names = (
            short if name not in known and (short := short_name(name)) in known else name for name in instance.vector
        )
        return instance.model_copy(update={"vector": tuple(names)})

    def union(self, other: SpaceLayout) -> SpaceLayout:
        """This interface grown by what `other` has and this lacks; existing entries keep their positions."""
        other = self.naming(other)
        if self.image and other.image and self.image[:2] != other.image[:2]:
            raise ManyheadsError(
                f"All images of one world have one size; {other.image[:2]} does not fit {self.image[:2]}. "
                "Set the environments' image sizes to the same."
            )
        image = self.image or other.image
        if self.image and other.image:
            image = (*self.image[:2], max(self.image[2], other.image[2]))
        return SpaceLayout(
            image=image,
            vector=_append(self.vector, other.vector),
            continuous=_append(self.continuous, other.continuous),
            discrete=_append(self.discrete, other.discrete),
        )

    def mask(self, instance: SpaceLayout) -> Mask:
        """Which entries of this interface an instance has."""
        instance = self.naming(instance)
        blocks = [block in instance.discrete for block in self.discrete]
        return Mask(
            image=instance.image is not None,
            vector=np.isin(np.array(self.vector, dtype=object), np.array(instance.vector, dtype=object)),
            continuous=np.isin(np.array(self.continuous, dtype=object), np.array(instance.continuous, dtype=object)),
            blocks=np.array(blocks, dtype=bool),
        )

    def vector_masks(self, instances: Sequence[SpaceLayout]) -> npt.NDArray[np.bool_]:
        """Which vector entries of this interface each of N instances has, (N, V)."""
        return np.stack([self.mask(instance).vector for instance in instances])

    def action_masks(self, instances: Sequence[SpaceLayout]) -> npt.NDArray[np.bool_]:
        """Which entries of this interface's flat actions each of N instances has, (N, A)."""
        masks = [self.mask(instance) for instance in instances]
        return np.stack([np.concatenate([each.continuous, each.blocks.repeat(self.blocks)]) for each in masks])


class Mask(BaseModel):
    """Which entries of an interface one instance has: reaches losses, entropies and action sampling."""

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True)

    image: bool
    vector: npt.NDArray[np.bool_]
    continuous: npt.NDArray[np.bool_]
    blocks: npt.NDArray[np.bool_]


def short_name(entry: str) -> str:
    """The name of a vector entry without its environment's."""
    environment, _, name = entry.partition(" ")
    return name if "/" in environment and name else entry


def _append(mine: tuple[T, ...], theirs: Iterable[T]) -> tuple[T, ...]:
    known = {*mine}
    return (*mine, *(item for item in theirs if item not in known))


def _to_ranges(names: Sequence[str]) -> list[str]:
    """Names as a file has them: `x[0]` to `x[63]` are `x[0:64]`."""
    written: list[str] = []
    run: list[str] = []
    end = ("", -1)
    for name in names:
        found = re.fullmatch(r"(.*)\[(0|[1-9]\d*)\]", name, re.DOTALL)
        own = (found[1], int(found[2])) if found else ("", -1)
        if run and (not found or own != (end[0], end[1] + 1)):
            written += _run(run, end)
            run = []
        if found:
            run.append(name)
        else:
            written.append(name)
        end = own
    return written + _run(run, end)


def _run(names: list[str], end: tuple[str, int]) -> list[str]:
    """Successive entries up to `end`, as a range where they are many."""
    return names if len(names) < LONG else [f"{end[0]}[{end[1] + 1 - len(names)}:{end[1] + 1}]"]


def _from_ranges(names: list[Any]) -> Iterator[Any]:
    for name in names:
        found = re.fullmatch(r"(.*)\[(\d+):(\d+)\]", name, re.DOTALL) if isinstance(name, str) else None
        if found is None:
            yield name
            continue
        start, stop = int(found[2]), int(found[3])
        if not 0 < stop - start <= MAX_ENTRIES:
            raise ValueError(f"{name} is not a range of entries")
        yield from (f"{found[1]}[{i}]" for i in range(start, stop))
