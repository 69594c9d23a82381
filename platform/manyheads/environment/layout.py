"""Named places for observations and actions: what an instance has, and the interface of a world."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from manyheads.errors import ManyheadsError

T = TypeVar("T")


class SpaceLayout(BaseModel):
    """One table of named places: an optional image, vector entries, continuous actions, one-hot blocks.

    The flat action vector holds the continuous places first, then each discrete block as a one-hot vector.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: tuple[int, int, int] | None = None
    """height, width, channels"""
    vector: tuple[str, ...] = ()
    continuous: tuple[str, ...] = ()
    discrete: tuple[tuple[str, int], ...] = ()
    """(name, choices); one name with two numbers of choices is two places"""

    @property
    def action_size(self) -> int:
        return len(self.continuous) + sum(size for _, size in self.discrete)

    @property
    def blocks(self) -> tuple[int, ...]:
        """Sizes of the one-hot blocks."""
        return tuple(size for _, size in self.discrete)

    def union(self, other: SpaceLayout) -> SpaceLayout:
        """This interface grown by what `other` has and this lacks; existing places keep their positions."""
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
        """Which places of this interface an instance has."""
        blocks = [block in instance.discrete for block in self.discrete]
        return Mask(
            image=instance.image is not None,
            vector=np.isin(np.array(self.vector, dtype=object), np.array(instance.vector, dtype=object)),
            continuous=np.isin(np.array(self.continuous, dtype=object), np.array(instance.continuous, dtype=object)),
            blocks=np.array(blocks, dtype=bool),
        )


class Mask(BaseModel):
    """Which places of an interface one instance has: reaches losses, entropies and action sampling."""

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True)

    image: bool
    vector: npt.NDArray[np.bool_]
    continuous: npt.NDArray[np.bool_]
    blocks: npt.NDArray[np.bool_]


def _append(mine: tuple[T, ...], theirs: Iterable[T]) -> tuple[T, ...]:
    return (*mine, *(item for item in theirs if item not in mine))
