"""The layout of a training batch: exact rows of replay, and how a batch is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor


class Batch(NamedTuple):
    """B sequences of T rows; row t holds observation t, its signals and its flags.

    `previous_action[t]` is the action chosen in row t-1 (whatever it was, also where `first`: the RSSM zeroes
    it). A sequence belongs to one instance but may span several of its episodes.
    """

    image: Tensor | None
    """(B, T, H, W, C) uint8, or None where the interface has no image, or none was asked for"""
    vector: Tensor
    """(B, T, V) float32; V may be 0"""
    previous_action: Tensor
    """(B, T, A) float32, flat (continuous places, then one-hot blocks), unclipped as the actor chose it"""
    signals: Tensor
    """(B, T, S) float32, columns of the sequence's own instance in catalogue order, padded with zeros"""
    first: Tensor
    """(B, T) bool: the row starts an episode"""
    last: Tensor
    """(B, T) bool: the row ends an episode, by termination or truncation"""
    terminal: Tensor
    """(B, T) bool: the simulator itself ended the episode here"""
    instance: Tensor
    """(B,) int64: position in the replay's list of instances"""
    deter: Tensor
    """(B, D) float32: stored recurrent state before row 0 (zeros where there is none)"""
    stoch: Tensor
    """(B, G, C) float32: stored latent before row 0 (zeros where there is none)"""

    @property
    def shape(self) -> tuple[int, int]:
        """(B, T)"""
        return self.first.shape[0], self.first.shape[1]


@dataclass(frozen=True)
class Where:
    """Where the B windows of a batch lie, to write their latents back."""

    streams: npt.NDArray[np.int64]
    """(B,)"""
    starts: npt.NDArray[np.int64]
    """(B,) number in its stream of a window's row 0"""
    length: int
    missing: npt.NDArray[np.bool_]
    """(B,) the row before the window has no stored latent: the window starts afresh, `first` is set"""
