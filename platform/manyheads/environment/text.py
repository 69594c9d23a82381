"""Sentences as numbers of a fixed length."""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from itertools import pairwise

import numpy as np

from manyheads.environment.spaces import Floats, Space

TEXT_SIZE = 64
"""numbers for one text"""


def is_text(space: Space) -> bool:
    """Whether a space's values are strings: Gymnasium's Text, and missions."""
    return space.dtype is not None and space.dtype.kind == "U"


@lru_cache(maxsize=1024)
def encode_text(text: str) -> Floats:
    """Signed counts (64,) of a text's words and neighbouring pairs of words, by their hashes; case is ignored.

    Feature hashing (Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning"): the same everywhere,
    without a vocabulary; pairs keep "the red key, then the door" from "the red door, then the key".
    """
    words = re.findall(r"\w+", text.lower())
    vector = np.zeros(TEXT_SIZE, np.float32)
    for feature in (*words, *map(" ".join, pairwise(words))):
        code = zlib.crc32(feature.encode())
        vector[code % TEXT_SIZE] += 1.0 if code & 0x80000000 else -1.0
    vector.setflags(write=False)
    return vector
