"""The writer as a policy: decisions given, sampled or most likely, with gradients of their log-probabilities.

The adapter lies in the upper half of the layers, so that gradients end there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from manyheads import ManyheadsError
from manyheads.rewards.finding import errors
from manyheads.rewards.validate import check
from manyheads_glam.decisions import Decision, Question
from manyheads_glam.grounding.practice import Demand, Practice, PracticeGoal
from manyheads_glam.models.causal import CausalModel
from manyheads_glam.transcript import RecordingModel, Trust
from manyheads_glam.understanding import SIGNS, understand
from manyheads_glam.writer import compose

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
Order = Callable[[Question, Sequence[float]], list[int]]


class Choice(NamedTuple):
    """A decision that was made: which of the options was taken."""

    question: Question
    taken: int


class Policy:
    """A causal model with a low-rank adapter in training (by peft), as the language model of decisions."""

    drafts = False

    def __init__(self, base: CausalModel, rank: int, alpha: int, trust: Trust, seed: int) -> None:
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
        self.adapted: Any = get_peft_model(base.model, config)
        self._tape: dict[tuple[str, tuple[str, ...]], Tensor] | None = None
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

    # the contract of a language model

    def score(self, prompt: str, candidates: Sequence[str]) -> list[float]:
        return [float(x) for x in self._scored(prompt, candidates).detach()]

    @contextmanager
    def taped(self) -> Iterator[None]:
        """Within it, scores keep their graphs, so that `log_probabilities` of the same questions costs nothing."""
        self._tape = {}
        try:
            yield
        finally:
            self._tape = None

    def _scored(self, prompt: str, candidates: Sequence[str]) -> Tensor:
        if self._tape is None:
            with torch.no_grad():
                return self._scores(prompt, candidates)
        key = (prompt, tuple(candidates))
        if key not in self._tape:
            self._tape[key] = self._scores(prompt, candidates)
        return self._tape[key]

    def prior(self, prompt: str, candidates: Sequence[str]) -> list[float]:
        """Scores of the model as it was; they never change, so each question is put once."""
        new = [text for text in candidates if (prompt, text) not in self._priors]
        if new:
            with torch.no_grad(), self.adapted.disable_adapter():
                scores = self._scores(prompt, new)
            self._priors |= {(prompt, text): float(x) for text, x in zip(new, scores, strict=True)}
        return [self._priors[prompt, text] for text in candidates]

    def embed(self, texts: Sequence[str]) -> Any:
        return self.base.embed(texts)

    def generate(self, prompt: str, schema: Any = None, max_tokens: int = 512) -> str:
        raise ManyheadsError(f"{self.name} weighs options; it drafts nothing.")

    # gradients

    def log_probabilities(self, question: Question) -> Tensor:
        """Of every option (N,), with gradients into the adapter."""
        prior = torch.tensor(self.prior(question.empty(), question.says))
        evidence = torch.tensor([option.lexicon + option.retrieval for option in question.options])
        key = (question.given(), tuple(question.says))
        gain = (self._tape or {}).get(key, None)
        gain = (self._scores(*key) if gain is None else gain) - prior
        return (evidence + self.trust.weight * gain).log_softmax(-1)

    def _scores(self, prompt: str, candidates: Sequence[str]) -> Tensor:
        """Mean log-probability per token (N,): prompt and all candidates in one row, which see the prompt alone."""
        tokenizer, model = self.base.tokenizer, self.base.model
        given = tokenizer(prompt).input_ids
        options = [tokenizer(text, add_special_tokens=False).input_ids for text in candidates]
        owner = torch.tensor([-1] * len(given) + [i for i, row in enumerate(options) for _ in row])
        position = torch.tensor([*range(len(given)), *(len(given) + j for row in options for j in range(len(row)))])
        row = torch.tensor(given + [token for one in options for token in one])
        order = torch.arange(len(row))
        sees = (order[:, None] >= order) & ((owner == -1) | (owner[:, None] == owner))
        mask = torch.zeros(len(row), len(row)).masked_fill(~sees, torch.finfo(torch.float32).min)
        hidden = model.model(
            input_ids=row[None], attention_mask=mask[None, None], position_ids=position[None], use_cache=False
        ).last_hidden_state[0]
        at = len(given) + torch.arange(len(row) - len(given))
        before = torch.where(owner[at] == owner[at - 1], at - 1, len(given) - 1)
        chosen = model.lm_head(hidden[before]).float().log_softmax(-1).gather(-1, row[at, None])[:, 0]
        sums = torch.zeros(len(options)).index_add(0, owner[at], chosen)
        return sums / torch.tensor([float(len(one)) for one in options])


class Deciding(RecordingModel):
    """A policy that decides in its own way, and remembers what it decided."""

    def __init__(self, policy: Any, order: Order) -> None:
        super().__init__(policy)
        self.choices: list[Choice] = []
        self._order = order

    def share(self, other: RecordingModel) -> None:
        """Answers and vectors that either one gets are both's: the same policy is behind them."""
        self._scores, self._vectors = other._scores, other._vectors

    def is_clear(self, decision: Decision) -> bool:
        return True  # guesses are practised, too

    def order(self, question: Question, totals: Sequence[float]) -> list[int]:
        ordered = self._order(question, totals)
        if len(totals) > 1:
            self.choices.append(Choice(question, ordered[0]))
        return ordered


def best(question: Question, totals: Sequence[float]) -> list[int]:
    """The options by what speaks for them."""
    return sorted(range(len(totals)), key=lambda i: -totals[i])


def sampler(random: np.random.Generator) -> Order:
    """Options drawn by their probabilities (the softmax of what speaks for them)."""
    return lambda question, totals: best(question, [x + random.gumbel() for x in totals])


def teacher(goal: PracticeGoal, known: list[bool]) -> Order:
    """The right option first; `known` says for each decision with a choice whether the right one is there."""

    def order(question: Question, totals: Sequence[float]) -> list[int]:
        right = _answer(question, _demand(goal.demands, question.about))
        at = next((i for i, option in enumerate(question.options) if option.answer == right), None)
        if len(totals) > 1:
            known.append(at is not None)
        ordered = best(question, totals)
        return ordered if at is None else [at, *(i for i in ordered if i != at)]

    return order


def written(goal: PracticeGoal, practice: Practice, model: Deciding) -> float:
    """How well what a model decides ranks recorded stretches as the truth does; 0 where it refuses or is refused."""
    try:
        understood = understand(goal.sentence, practice.instance, model)
        spec, _ = compose(goal.sentence, practice.instance, understood, practice.measured)
    except ManyheadsError:
        return 0.0
    return 0.0 if errors(check(spec, practice.instance.signals)) else practice.rank(spec, goal)


def _demand(demands: Sequence[Demand], about: str) -> Demand:
    """The demand whose words a clause has most of."""
    said = set(about.lower().split())
    return max(demands, key=lambda one: len(said & set(one.clause.lower().split())) / len(one.clause.split()))


def _answer(question: Question, demand: Demand) -> str:
    if question.question == "which signal":
        return demand.signal
    if question.question == "which side":
        return demand.side
    return next(name for name, sign in SIGNS.items() if sign == demand.sign)
