"""No language model at all: the lexicon's rules alone read a goal, at once, and refuse what they don't know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from manyheads import ManyheadsError
from manyheads_glam.models.settings import LEXICON


class LexiconModel:
    """A language model without an opinion: every option is as likely, and no sentence is near another."""

    name, drafts = LEXICON, False

    def generate(self, prompt: str, schema: Mapping[str, Any] | None = None, max_tokens: int = 512) -> str:
        raise ManyheadsError("The lexicon drafts nothing.")

    def score(self, prompt: str, candidates: Sequence[str]) -> list[float]:
        return [0.0] * len(candidates)

    def embed(self, texts: Sequence[str]) -> Any:
        return np.zeros((len(texts), 8), np.float32)
