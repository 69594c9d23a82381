"""A training batch: exact rows of replay, and where they lie there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor


class Batch(NamedTuple):
    """B sequences of T rows; row t holds observation t, its signals and flags, and the action chosen after seeing it.

    A sequence belongs to one instance but may span several of its episodes.
    """

    image: Tensor | None
    """(B, T, H, W, C) uint8, or with `pictured` (P, T, H, W, C); None where the interface has no image, or none was
    asked for"""
    vector: Tensor
    """(B, T, V) float32; V may be 0"""
    previous_action: Tensor
    """(B, T, A) float32: the action of row t-1, also across episodes; flat (continuous entries, then one-hot blocks)
    and unclipped, as the actor chose it"""
    action: Tensor
    """(B, T, A) float32: the action of row t; where `is_last` it is not carried out"""
    signals: Tensor
    """(B, T, S) float32, columns in the order of the recorded instance's `signals`, padded with zeros"""
    is_first: Tensor
    """(B, T) bool: the row starts an episode"""
    is_last: Tensor
    """(B, T) bool: the row ends an episode, by termination or truncation"""
    is_terminal: Tensor
    """(B, T) bool: the simulator itself ended the episode here"""
    reset_state: Tensor
    """(B, T) bool: the latent before the row is missing, so the recurrent state is reset within an episode"""
    instance: Tensor
    """(B,) int64: position in the replay's list of instances"""
    deter: Tensor
    """(B, D) float32: stored recurrent state before row 0 (zeros where there is none)"""
    stoch: Tensor
    """(B, G, C) float32: stored latent before row 0 (zeros where there is none)"""
    pictured: Tensor | None = None
    """(P,) int64: the sequences that `image` is of, the last of which is blank, as all others are; None: all of them"""

    def with_every_image(self) -> Batch:
        """The same with images (B, T, H, W, C), blank where there were none."""
        if self.pictured is None or self.image is None:
            return self
        every = self.image.new_zeros(self.shape[0], *self.image.shape[1:]).index_copy(0, self.pictured, self.image)
        return self._replace(image=every, pictured=None)

    @property
    def shape(self) -> tuple[int, int]:
        """(B, T)"""
        return self.is_first.shape[0], self.is_first.shape[1]


@dataclass(frozen=True)
class WindowIndex:
    """Where the B windows of a batch lie in replay, to write their latents back."""

    streams: npt.NDArray[np.int64]
    """(B,)"""
    starts: npt.NDArray[np.int64]
    """(B,) number in its stream of a window's row 0"""
    length: int
    missing: npt.NDArray[np.bool_]
    """(B,) the row before the window has no stored latent, so that `reset_state` is set in row 0"""
