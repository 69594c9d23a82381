"""The writer as a policy: scores of options, with gradients of their log-probabilities.

The adapter lies in the upper half of the layers, so that gradients end there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from manyheads import ManyheadsError
from manyheads_glam.decisions import Question
from manyheads_glam.grounding.packed import Asked, PackedModel
from manyheads_glam.models.causal import CausalModel
from manyheads_glam.transcript import Trust

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
Weights = np.ndarray[Any, np.dtype[np.float32]]


class Unanswered(Exception):
    """A question will be scored together with others; what asked it has to ask again."""


class Policy:
    """A causal model with a low-rank adapter in training (by peft), as the language model of decisions."""

    drafts = False

    def __init__(
        self,
        base: CausalModel,
        rank: int,
        alpha: int,
        trust: Trust,
        seed: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """The base model computes in `dtype` from here on; the adapter's weights are float32."""
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(seed)
        self.name, self.base, self.trust = f"{base.name} in training", base, trust
        layers = int(base.model.config.num_hidden_layers)
        config = LoraConfig(
            r=rank,
            lora_alpha=alpha,
            target_modules=list(TARGETS),
            layers_to_transform=list(range(layers // 2, layers)),
            task_type="CAUSAL_LM",
        )
        self._packed = PackedModel(base.name, base.model.to(dtype), base.tokenizer, layers // 2)
        self.adapted: Any = get_peft_model(base.model, config)
        self._answers: dict[Asked, list[float]] = {}
        self._waiting: list[Asked] | None = None
        self._priors: dict[tuple[str, str], float] = {}

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.adapted.parameters() if parameter.requires_grad]

    def tensors(self) -> dict[str, Tensor]:
        """The adapter's tensors in peft's names."""
        from peft import get_peft_model_state_dict

        return {name: tensor.detach().clone() for name, tensor in get_peft_model_state_dict(self.adapted).items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Resumes from an adapter's tensors."""
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(self.adapted, tensors)
        self.weights_changed()

    def weights_changed(self) -> None:
        """Forgets the scores of the weights before."""
        self._answers.clear()

    # the contract of a language model

    def score(self, prompt: str, candidates: Sequence[str]) -> list[float]:
        asked = (prompt, tuple(candidates))
        if asked not in self._answers:
            if self._waiting is not None:
                self._waiting.append(asked)
                raise Unanswered
            self._score([asked])
        return self._answers[asked]

    def prior(self, prompt: str, candidates: Sequence[str]) -> list[float]:
        """Scores of the model as it was; they never change, so each option is scored once."""
        self._score_priors([(prompt, tuple(candidates))])
        return [self._priors[prompt, text] for text in candidates]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within it, a new question raises Unanswered; at the end all of them are scored at once."""
        self._waiting = []
        try:
            yield
            self._score(self._waiting)
        finally:
            self._waiting = None

    def answer(self, questions: Iterable[Question]) -> None:
        """Scores questions at once, before they are put."""
        asked = [(one, one.says) for one in questions if len(one.options) > 1]
        self._score([(one.given(), tuple(says)) for one, says in asked])
        self._score_priors([(one.empty(), tuple(says)) for one, says in asked])

    def _score(self, questions: Sequence[Asked]) -> None:
        new = [asked for asked in questions if asked not in self._answers]
        with torch.no_grad():
            for part, scores in self._packed.passes(new):
                self._answers |= {asked: one.tolist() for asked, one in zip(part, scores, strict=True)}

    def _score_priors(self, questions: Sequence[Asked]) -> None:
        new: dict[str, dict[str, None]] = {}
        for prompt, texts in questions:
            if missing := [text for text in texts if (prompt, text) not in self._priors]:
                new.setdefault(prompt, {}).update(dict.fromkeys(missing))
        if not new:
            return
        self.adapted.base_model.disable_adapter_layers()
        try:
            with torch.no_grad():
                for part, scores in self._packed.passes([(prompt, tuple(texts)) for prompt, texts in new.items()]):
                    for (prompt, texts), own in zip(part, scores, strict=True):
                        self._priors |= {(prompt, text): x for text, x in zip(texts, own.tolist(), strict=True)}
        finally:
            self.adapted.base_model.enable_adapter_layers()

    def embed(self, texts: Sequence[str]) -> Any:
        return self.base.embed(texts)

    def generate(self, prompt: str, schema: Any = None, max_tokens: int = 512) -> str:
        raise ManyheadsError(f"{self.name} weighs options; it drafts nothing.")

    # gradients

    def backward(self, weighted: Mapping[Question, Weights]) -> dict[Question, Tensor]:
        """Adds the gradients of minus the sum of weighted log-probabilities of options; returns these (N,) each."""
        self._score_priors([(question.empty(), tuple(question.says)) for question in weighted])
        asked: dict[Asked, list[Question]] = {}
        for question in weighted:
            asked.setdefault((question.given(), tuple(question.says)), []).append(question)
        found = {}
        for part, scores in self._packed.passes([*asked]):
            losses = []
            for key, gains in zip(part, scores, strict=True):
                for question in asked[key]:
                    log = self._log_probabilities(question, gains)
                    losses.append(-(log * torch.from_numpy(weighted[question])).sum())
                    found[question] = log.detach()
            torch.autograd.backward(torch.stack(losses).sum())
        return found

    def _log_probabilities(self, question: Question, scores: Tensor) -> Tensor:
        """Of every option (N,), from the scores that the model gives them."""
        prior = torch.tensor(self.prior(question.empty(), question.says))
        evidence = torch.tensor([option.lexicon + option.retrieval for option in question.options])
        return (evidence + self.trust.weight * (scores - prior)).log_softmax(-1)
