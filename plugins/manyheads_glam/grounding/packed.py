"""Scores many questions in one pass of a model whose lower layers stay as they are.

Questions lie one after the other in one row and do not see each other, so that weights are read once for all of them.
What the layers below the first adapted one make of a question is computed once, without gradients, and kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from manyheads import ManyheadsError

Asked = tuple[str, tuple[str, ...]]
"""a prompt and the candidates that may follow it"""
TOKENS = 512
"""of a pass: more gain nothing, and gradients keep what each layer made of them"""
KEPT = 100_000
"""tokens of which the lower layers' result is kept: 115 MB of the embedded model in bfloat16"""


class Row(NamedTuple):
    """One question: the prompt's L0 tokens, then those of every candidate, as if each came alone."""

    tokens: Tensor
    """(L,)"""
    owner: Tensor
    """(L,) the candidate's number, -1 in the prompt"""
    position: Tensor
    """(L,)"""


class PackedModel:
    """A causal model of transformers with layers as Llama's, adapted from layer `adapted` on."""

    def __init__(self, name: str, model: Any, tokenizer: Any, adapted: int) -> None:
        """Raises ManyheadsError for a model of another build."""
        self._model, self._tokenizer, self._adapted = model, tokenizer, adapted
        inner = getattr(model, "model", None)
        if not all(hasattr(inner, part) for part in ("embed_tokens", "layers", "norm", "rotary_emb")):
            raise ManyheadsError(
                f"{name} can't be trained: its layers are none of Llama's kind (SmolLM, Llama, Mistral, Qwen)."
            )
        self._inner: Any = inner
        self._lower: dict[Asked, Tensor] = {}
        self._tokens = 0

    def passes(self, questions: Sequence[Asked]) -> Iterator[tuple[list[Asked], list[Tensor]]]:
        """Mean log-probability per token of every candidate (N,), pass by pass, with the questions of each."""
        rows = {asked: self._row(asked) for asked in dict.fromkeys(questions)}
        for part in _parts({asked: len(row.tokens) for asked, row in rows.items()}):
            packed = [rows[asked] for asked in part]
            lower = torch.cat(self._lower_of(part, packed))
            hidden = self._inner.norm(self._through(self._inner.layers[self._adapted :], lower, packed))
            yield part, self._scores(hidden, packed)

    def _lower_of(self, part: Sequence[Asked], packed: Sequence[Row]) -> list[Tensor]:
        """What the lower layers make of each question (L, H); kept, and the longest unused ones dropped."""
        new = [(asked, row) for asked, row in zip(part, packed, strict=True) if asked not in self._lower]
        found = {asked: self._lower.pop(asked) for asked in part if asked in self._lower}
        if new:
            with torch.no_grad():
                embedded = self._inner.embed_tokens(torch.cat([row.tokens for _, row in new]))
                hidden = self._through(self._inner.layers[: self._adapted], embedded, [row for _, row in new])
            lengths = [len(row.tokens) for _, row in new]
            found |= {asked: one.clone() for (asked, _), one in zip(new, torch.split(hidden, lengths), strict=True)}
            self._tokens += sum(lengths)
        self._lower |= found
        while self._tokens > KEPT and len(self._lower) > len(found):
            self._tokens -= len(self._lower.pop(next(iter(self._lower))))
        return [found[asked] for asked in part]

    def _through(self, layers: Sequence[Any], hidden: Tensor, packed: Sequence[Row]) -> Tensor:
        """Hidden states (L, H) of questions one after the other, through some layers."""
        position = torch.cat([row.position for row in packed])[None]
        mask = _mask(packed, hidden.dtype)
        hidden = hidden[None]
        turned = self._inner.rotary_emb(hidden, position)
        for layer in layers:
            hidden = layer(hidden, attention_mask=mask, position_ids=position, position_embeddings=turned)
        return hidden[0]

    def _scores(self, hidden: Tensor, packed: Sequence[Row]) -> list[Tensor]:
        before, tokens, lengths, begin = [], [], [], 0
        for row in packed:
            at = (row.owner >= 0).nonzero()[:, 0]
            follows = row.owner[at] == row.owner[at - 1]
            before.append(begin + torch.where(follows, at - 1, at[0] - 1))
            tokens.append(row.tokens[at])
            lengths.append(len(at))
            begin += len(row.tokens)
        logits = self._model.lm_head(hidden[torch.cat(before)]).float()
        chosen = logits.log_softmax(-1).gather(-1, torch.cat(tokens)[:, None])[:, 0].split(lengths)
        return [_means(own, row.owner[row.owner >= 0]) for own, row in zip(chosen, packed, strict=True)]

    def _row(self, asked: Asked) -> Row:
        given = self._tokenizer(asked[0]).input_ids
        options = [self._tokenizer(text, add_special_tokens=False).input_ids for text in asked[1]]
        start = len(given)
        owner = [-1] * start + [i for i, one in enumerate(options) for _ in one]
        position = [*range(start), *(start + j for one in options for j in range(len(one)))]
        tokens = given + [token for one in options for token in one]
        return Row(torch.tensor(tokens), torch.tensor(owner), torch.tensor(position))


def _means(values: Tensor, owner: Tensor) -> Tensor:
    """Mean of the values (L,) of each candidate (N,)."""
    counts = torch.bincount(owner)
    return torch.zeros(len(counts)).index_add(0, owner, values) / counts


def _mask(packed: Sequence[Row], dtype: torch.dtype) -> Tensor:
    """What is added to attention (1, 1, L, L): a token sees its prompt and its candidate up to itself."""
    question = torch.cat([torch.full_like(row.owner, i) for i, row in enumerate(packed)])
    owner = torch.cat([row.owner for row in packed])
    order = torch.arange(len(owner))
    sees = (question[:, None] == question) & (order[:, None] >= order)
    sees &= (owner == -1) | (owner[:, None] == owner)
    return torch.zeros(len(owner), len(owner), dtype=dtype).masked_fill(~sees, torch.finfo(dtype).min)[None, None]


def _parts(lengths: dict[Asked, int]) -> Iterator[list[Asked]]:
    """Questions in turn, as many at a time as fit a pass."""
    part: list[Asked] = []
    total = 0
    for asked, length in lengths.items():
        if part and total + length > TOKENS:
            yield part
            part, total = [], 0
        part.append(asked)
        total += length
    if part:
        yield part
