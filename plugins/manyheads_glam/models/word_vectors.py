"""Sentence vectors by hashed words alone: for machines and tests without a sentence encoder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

DIMENSIONS = 256


def word_vectors(texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Unit vectors (len(texts), 256): texts that share words are near."""
    vectors = np.full((len(texts), DIMENSIONS), 1e-6, dtype=np.float32)
    for row, text in zip(vectors, texts, strict=True):
        for word in re.findall(r"[a-z]+", text.lower()):
            row[int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest()) % DIMENSIONS] += 1.0
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors
