"""Keeps every prompt and every answer of a language model, as JSON lines next to the task."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from manyheads import LanguageModel, ManyheadsError
from manyheads.atomic import read_text, write_text
from manyheads_glam.models.chat import ChatModel

if TYPE_CHECKING:
    from manyheads_glam.decisions import Decision, Question


@dataclass(frozen=True)
class Trust:
    """How much a model's likelihoods count next to the lexicon and the examples: their weight, and their limit.

    Those of a small model settle what is open, and never outweigh words that are plain.
    """

    weight: float = 0.6
    limit: float = 0.75
    learned: bool = False
    """it has practised, and so may read words that the lexicon does not know"""


CLEAR = 0.5
"""margin of a decision, in units of log-probability, from which on it is not a guess"""


class RecordingModel:
    """A language model whose calls are recorded and whose answers are checked for form."""

    def __init__(self, model: LanguageModel) -> None:
        self.name = model.name
        self.trust: Trust = getattr(model, "trust", Trust())
        self.calls: list[dict[str, Any]] = []
        self._model = model
        self._vectors: dict[str, Any] = {}
        self._scores: dict[tuple[str, tuple[str, ...]], list[float]] = {}

    def generate(self, prompt: str, schema: Mapping[str, Any] | None = None, max_tokens: int = 512) -> str:
        reply = self._model.generate(prompt, schema, max_tokens)
        if not isinstance(reply, str):
            raise ManyheadsError(f"The language model {self.name} gave {type(reply).__name__}, expected text.")
        self.calls.append({"call": "generate", "prompt": prompt, "reply": reply})
        return reply

    def score(self, prompt: str, candidates: Sequence[str]) -> list[float]:
        """Scores of the candidates; the same question is only put once."""
        key = (prompt, tuple(candidates))
        if key not in self._scores:
            scores = [float(x) for x in self._model.score(prompt, candidates)]
            if len(scores) != len(candidates) or not all(map(math.isfinite, scores)):
                raise ManyheadsError(
                    f"The language model {self.name} answered nonsense: {scores} as log-probabilities of "
                    f"{len(candidates)} candidates; expected one finite number each. Try another --model."
                )
            rounded = [round(x, 4) for x in scores]
            self.calls.append({"call": "score", "prompt": prompt, "candidates": list(candidates), "scores": rounded})
            self._scores[key] = scores
        return self._scores[key]

    def prior(self, prompt: str, candidates: Sequence[str]) -> list[float]:
        """Scores under an empty goal: by what the model was before it was adapted, where it was."""
        before = getattr(self._model, "prior", None)
        return self.score(prompt, candidates) if before is None else [float(x) for x in before(prompt, candidates)]

    def order(self, question: Question, totals: Sequence[float]) -> list[int]:
        """The options of a decision, best first."""
        return sorted(range(len(totals)), key=lambda i: -totals[i])

    def is_clear(self, decision: Decision) -> bool:
        """Whether a decision on words that the lexicon does not know is not just a guess."""
        return len(decision.options) < 2 or decision.margin >= CLEAR

    def embed(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Unit embeddings; each text is only embedded once."""
        new = list(dict.fromkeys(text for text in texts if text not in self._vectors))
        if new:
            vectors = np.asarray(self._model.embed(new), dtype=np.float32)
            if vectors.ndim != 2 or len(vectors) != len(new) or not np.isfinite(vectors).all():
                raise ManyheadsError(
                    f"The language model {self.name} answered nonsense: embeddings of shape {vectors.shape} for "
                    f"{len(new)} texts. Try another --model."
                )
            self._vectors |= dict(zip(new, vectors, strict=True))
        return np.stack([self._vectors[text] for text in texts])

    def usage(self) -> list[dict[str, Any]]:
        """What the answers took, from a model that counts it."""
        return [self._model.spending.record()] if isinstance(self._model, ChatModel) else []


def require_journal(path: Path) -> None:
    """Raises ManyheadsError where a file, which would be overwritten, is not a journal of a goal."""
    if not path.exists():
        return
    try:
        sound = all("call" in json.loads(line) for line in read_text(path).splitlines())
    except (ValueError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise ManyheadsError(f"{path} holds something else than a goal's journal. Choose another --out.")


def write_jsonl(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Writes records atomically, one JSON object a line."""
    lines = [json.dumps(record, ensure_ascii=False, allow_nan=False) for record in records]
    write_text(path, "".join(f"{line}\n" for line in lines))
