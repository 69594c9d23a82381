"""Language models behind one small contract: generate under a schema, score candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from manyheads.imports import missing_modules


@runtime_checkable
class LanguageModel(Protocol):
    """What a language model must offer to write reward specifications."""

    name: str

    def generate(self, prompt: str, schema: Mapping[str, Any] | None = None, max_tokens: int = 512) -> str:
        """Text that continues the prompt; with a JSON schema, JSON that should fit it: the caller checks."""

    def score(self, prompt: str, candidates: Sequence[str]) -> list[float]:
        """Mean log-probability per token of each candidate as a continuation of the prompt."""

    def embed(self, texts: Sequence[str]) -> Any:
        """Unit sentence embeddings, float32 array (len(texts), D); near in meaning is near in angle."""


@dataclass(frozen=True)
class LanguageModelKind:
    """A language model under a name `plugin/thing`, built on first use."""

    name: str
    factory: Callable[[], LanguageModel]
    requires: tuple[str, ...] = ()
    extra: str = ""
    description: str = ""

    def missing(self) -> list[str]:
        """The modules in `requires` that this Python can't import."""
        return missing_modules(self.requires)
