"""Any causal language model of `transformers`, behind the platform's contract: score candidates, generate JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manyheads import ManyheadsError
from manyheads_glam.models.sentences import SentenceEncoder, using

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
KEPT = 20_000
"""texts whose embeddings are kept (30 MB), and answers whose scores are"""


class CausalModel:
    """A checkpoint folder as a language model; sentence embeddings come from the packaged sentence encoder.

    `drafts` says whether the model is strong enough to draft whole specifications as JSON; a model that is not
    is only asked to weigh options against each other. `threads`: PyTorch's threads for scoring; a small model's
    products are over before other threads have started.
    """

    def __init__(self, name: str, folder: Path, drafts: bool = True, threads: int | None = None) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self.name = name
        self.folder = folder
        self.drafts = drafts
        self.threads = threads
        self._kept_scores: dict[tuple[str, str], float] = {}
        self._vectors: dict[str, np.ndarray[Any, np.dtype[np.float32]]] = {}
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise ManyheadsError(
                f"{folder} can't be loaded as a transformers checkpoint: {str(error).splitlines()[0]} "
                "It should hold config.json, tokenizer.json and model.safetensors of a causal language model."
            ) from error
        self.model.requires_grad_(False).eval()  # type: ignore[no-untyped-call]

    def embed(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Unit sentence embeddings (len(texts), 384); each text is embedded once."""
        new = list(dict.fromkeys(text for text in texts if text not in self._vectors))
        if len(self._vectors) + len(new) > KEPT:
            self._vectors.clear()
            new = list(dict.fromkeys(texts))
        self._vectors |= dict(zip(new, self._sentences(new), strict=True))
        return np.stack([self._vectors[text] for text in texts]) if texts else self._sentences(())

    def score(self, prompt: str, candidates: Sequence[str]) -> list[float]:
        """Mean log-probability per token of each candidate after the prompt; each pair is scored once."""
        new = list(dict.fromkeys(text for text in candidates if (prompt, text) not in self._kept_scores))
        if len(self._kept_scores) + len(new) > KEPT:
            self._kept_scores.clear()
            new = list(dict.fromkeys(candidates))
        if new:
            scores = self.score_uncached(prompt, new)
            self._kept_scores |= {(prompt, text): score for text, score in zip(new, scores, strict=True)}
        return [self._kept_scores[prompt, text] for text in candidates]

    @torch.inference_mode()
    def score_uncached(self, prompt: str, candidates: Sequence[str]) -> list[float]:
        """Mean log-probability per token of each candidate after the prompt.

        The prompt runs once; its cache is repeated for the candidates, which are padded on the right, where causal
        attention cannot see the padding.
        """
        given = self.tokenizer(prompt, return_tensors="pt").input_ids
        tokens = [self.tokenizer(text, add_special_tokens=False).input_ids for text in candidates]
        if not tokens or not all(tokens):
            raise ManyheadsError(f"{self.name}: every candidate to be scored needs at least one token.")
        with using(self.threads):
            return self._score(given, tokens)

    def _score(self, given: Tensor, tokens: list[list[int]]) -> list[float]:
        length = max(map(len, tokens))
        padded = torch.tensor([row + [0] * (length - len(row)) for row in tokens])
        real = torch.tensor([[1.0] * len(row) + [0.0] * (length - len(row)) for row in tokens])

        start = self.model(given, use_cache=True, logits_to_keep=1)
        logits = start.logits.expand(len(tokens), -1, -1)
        if length > 1:
            cache = start.past_key_values
            cache.batch_repeat_interleave(len(tokens))
            rest = self.model(padded[:, :-1], past_key_values=cache).logits
            logits = torch.cat([logits, rest], dim=1)
        chosen = logits.float().log_softmax(-1).gather(-1, padded[..., None])[..., 0]
        return [float(x) for x in (chosen * real).sum(1) / real.sum(1)]

    @torch.inference_mode()
    def generate(self, prompt: str, schema: Mapping[str, Any] | None = None, max_tokens: int = 512) -> str:
        """The most likely continuation, token by token; with a schema, only tokens that keep to it are allowed."""
        guide = self._guide(schema) if schema is not None else None
        step = self.model(self._chat(prompt), use_cache=True, logits_to_keep=1)
        written: list[int] = []
        while len(written) < max_tokens:
            logits = step.logits[0, -1].float()
            if guide is not None:
                logits = logits.masked_fill(~_allowed(guide, len(logits)), -torch.inf)
            token = int(logits.argmax())
            if token == self.tokenizer.eos_token_id:
                break
            new = [token]
            if guide is not None:
                guide.consume_token(token)
                forced = guide.compute_ff_tokens()
                guide.consume_tokens(forced)
                new += forced
            written += new
            if guide is not None and guide.is_stopped():
                break
            step = self.model(torch.tensor([new]), past_key_values=step.past_key_values, logits_to_keep=1)
        return str(self.tokenizer.decode(written, skip_special_tokens=True))

    @cached_property
    def _sentences(self) -> SentenceEncoder:
        return SentenceEncoder()

    @cached_property
    def _vocabulary(self) -> Any:
        import llguidance.hf

        return llguidance.hf.from_tokenizer(self.tokenizer, n_vocab=self.model.config.vocab_size)

    def _chat(self, prompt: str) -> Tensor:
        if self.tokenizer.chat_template is not None:
            talk = [{"role": "user", "content": prompt}]
            prompt = str(self.tokenizer.apply_chat_template(talk, add_generation_prompt=True, tokenize=False))
        tokens: Tensor = self.tokenizer(prompt, return_tensors="pt").input_ids
        most = getattr(self.model.config, "max_position_embeddings", None)
        if most is not None and tokens.shape[1] >= most:
            raise ManyheadsError(
                f"{self.name} takes {most} tokens, and the prompt has {tokens.shape[1]}. Take a model with a longer "
                "context."
            )
        return tokens

    def _guide(self, schema: Mapping[str, Any]) -> Any:
        import llguidance

        dense = dict(schema) | {"x-guidance": {"whitespace_flexible": False}}
        grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(dense))
        guide = llguidance.LLMatcher(self._vocabulary, grammar)
        if guide.is_error():
            raise ManyheadsError(f"The JSON schema can't guide {self.name}: {guide.get_error()}")
        return guide


def _allowed(guide: Any, size: int) -> Tensor:
    """Which tokens may come next, as bools (size,)."""
    bits = np.unpackbits(np.frombuffer(guide.compute_bitmask(), dtype=np.uint8), bitorder="little")
    mask = np.zeros(size, dtype=bool)
    mask[: min(size, len(bits))] = bits[:size]
    return torch.from_numpy(mask)
