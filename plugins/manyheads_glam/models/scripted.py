"""A language model that reads its replies from a file: for tests, demonstrations and replays."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from manyheads import ManyheadsError
from manyheads.atomic import read_text
from manyheads_glam.models.word_vectors import word_vectors


class ScriptedModel:
    """Answers from JSON lines: `{"reply": …}` in turn, `{"prompt": …, "candidates": […], "scores": […]}` by question.

    A journal that the goal command wrote is such a file. Questions that it does not know score 0 each, and
    sentences are embedded by their words alone. A file with replies drafts; one without only weighs options.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"scripted:{path}"
        try:
            records = [json.loads(line) for line in read_text(path).splitlines() if line.strip()]
        except (ValueError, RecursionError) as error:
            raise ManyheadsError(f"{path} can't be read as replies, one JSON object a line: {error}") from error
        if not all(isinstance(record, dict) for record in records):
            raise ManyheadsError(f"{path}: each line of a file of replies is a JSON object.")
        self._replies = iter([record["reply"] for record in records if "reply" in record])
        self._scores = {
            (record["prompt"], candidate): score
            for record in records
            if "scores" in record
            for candidate, score in zip(record["candidates"], record["scores"], strict=True)
        }
        self.drafts = any("reply" in record for record in records)

    def generate(self, prompt: str, schema: Mapping[str, Any] | None = None, max_tokens: int = 512) -> str:
        """The next reply of the file."""
        reply = next(self._replies, None)
        if reply is None:
            raise ManyheadsError(f"{self.name} has no more replies.")
        return str(reply)

    def score(self, prompt: str, candidates: Sequence[str]) -> list[float]:
        """The file's scores for this question."""
        return [float(self._scores.get((prompt, candidate), 0.0)) for candidate in candidates]

    def embed(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Unit vectors of hashed words: texts that share words are near."""
        return word_vectors(texts)


def scripted(path: str | None = None) -> ScriptedModel:
    """The model whose replies are at `path`, else at the environment variable MANYHEADS_REPLIES."""
    path = path or os.environ.get("MANYHEADS_REPLIES")
    if not path:
        raise ManyheadsError(
            "glam/scripted needs replies: set MANYHEADS_REPLIES to a file, or use --model scripted:FILE."
        )
    return ScriptedModel(Path(path).expanduser())
