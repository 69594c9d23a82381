"""Learning to decide: a supervised warm start, then group-relative policy gradients from recorded stretches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from manyheads import ManyheadsError, atomic
from manyheads_glam.grounding.policy import Deciding, Policy, best, sampler, teacher, written
from manyheads_glam.grounding.practice import Practice, PracticeGoal
from manyheads_glam.wordings import Split

SUPERVISED, REINFORCED = "supervised", "reinforced"
SPREAD = 0.02
"""standard deviation of a group's rewards, below which there is nothing to learn from it"""


class GroundSettings(BaseModel):
    """How much is practised; `goals` are counted over the whole run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warm: Annotated[int, Field(ge=0)] = 400
    """steps of the supervised warm start"""
    steps: Annotated[int, Field(ge=0)] = 600
    """steps of reinforcement after it"""
    goals: Annotated[int, Field(ge=1, le=64)] = 4
    """practice goals a step"""
    group: Annotated[int, Field(ge=2, le=64)] = 8
    """specifications written for each goal of a step of reinforcement"""
    lr: Annotated[float, Field(gt=0, le=1e-1)] = 3e-4
    rank: Annotated[int, Field(ge=1, le=64)] = 8
    weight: Annotated[float, Field(gt=0, le=10)] = 2.0
    limit: Annotated[float, Field(gt=0, le=20)] = 6.0
    every: Annotated[int, Field(ge=1)] = 60
    """steps between two looks at held-out goals"""
    held: Annotated[int, Field(ge=1)] = 32
    """goals of each held-out kind"""
    seed: int = 0

    @property
    def total(self) -> int:
        return self.warm + self.steps


@dataclass
class Run:
    """A run of practice that can be stopped and resumed."""

    settings: GroundSettings
    policy: Policy
    practices: Sequence[Practice]
    held_out: Sequence[Practice]
    """environments that are never trained on"""
    curve: list[dict[str, float]] = field(default_factory=list)
    step: int = 0

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.AdamW(self.policy.parameters, lr=self.settings.lr, weight_decay=0.01)
        self.tests = self._held_goals()

    def train(self, until: int, seen: Callable[[Mapping[str, float]], None]) -> None:
        """Practises up to a step; `seen` is called with the numbers of each."""
        settings = self.settings
        while self.step < until:
            random = np.random.default_rng([settings.seed, self.step])
            phase = SUPERVISED if self.step < settings.warm else REINFORCED
            for group in self.optimizer.param_groups:
                group["lr"] = self._lr()
            row = self._supervised(random) if phase == SUPERVISED else self._reinforced(random)
            torch.nn.utils.clip_grad_norm_(self.policy.parameters, 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.step += 1
            if self.step % settings.every == 0 or self.step == settings.total:
                row |= self.held()
            self.curve.append({"step": self.step, **row})
            seen(self.curve[-1])

    def held(self) -> dict[str, float]:
        """Median and mean agreement of the best decisions on held-out environments and on held-out wordings."""
        found: dict[str, float] = {}
        for name, tests in self.tests.items():
            ranks = [written(goal, practice, Deciding(self.policy, best)) for practice, goal in tests]
            found |= {name: fmean(ranks), f"{name} median": median(ranks)}
        return found

    def _lr(self) -> float:
        """Rises over twenty steps, is a third while reinforced, and falls to a tenth at the end."""
        settings = self.settings
        done = self.step / max(1, settings.total)
        phase = 1.0 if self.step < settings.warm else 0.33
        return settings.lr * min(1.0, (self.step + 1) / 20) * phase * (1.0 - 0.9 * done)

    def _held_goals(self) -> dict[str, list[tuple[Practice, PracticeGoal]]]:
        random = np.random.default_rng([self.settings.seed, 1 << 30])
        kinds: dict[str, tuple[Sequence[Practice], Split]] = {
            "held-out environments": (self.held_out, "held"),
            "held-out wordings": (self.practices, "held"),
        }
        return {
            name: [
                (practice, practice.goal(random, split))
                for i in range(self.settings.held)
                for practice in [where[i % len(where)]]
            ]
            for name, (where, split) in kinds.items()
            if where
        }

    def _drawn(self, random: np.random.Generator) -> list[tuple[Practice, PracticeGoal]]:
        chosen = [self.practices[i] for i in random.integers(len(self.practices), size=self.settings.goals)]
        return [(practice, practice.goal(random, "train")) for practice in chosen]

    def _supervised(self, random: np.random.Generator) -> dict[str, float]:
        """Raises the log-probability of every right decision."""
        losses, right = [], []
        for practice, goal in self._drawn(random):
            known: list[bool] = []
            model = Deciding(_Unasked(self.policy), teacher(goal, known))
            written(goal, practice, model)
            for choice, is_known in zip(model.choices, known, strict=True):
                if not is_known:
                    continue
                log = self.policy.log_probabilities(choice.question)
                loss = -log[choice.taken] / (self.settings.goals * len(known))
                torch.autograd.backward(loss)
                losses.append(-log[choice.taken].item())
                right.append(float(log.argmax() == choice.taken))
        return {"loss": fmean(losses or [0.0]), "right": fmean(right or [0.0])}

    def _reinforced(self, random: np.random.Generator) -> dict[str, float]:
        """Several specifications a goal: those that rank better than the group become likelier."""
        rewards, told = [], 0
        for practice, goal in self._drawn(random):
            group = [Deciding(self.policy, sampler(random)) for _ in range(self.settings.group)]
            for one in group[1:]:
                one.share(group[0])
            with self.policy.taped():
                ranks = np.array([written(goal, practice, one) for one in group])
                rewards.append(float(ranks.mean()))
                if ranks.std() < SPREAD:
                    continue
                told += 1
                advantages = (ranks - ranks.mean()) / (ranks.std() + SPREAD)
                self._reinforce(group, advantages / (self.settings.goals * len(group)))
        return {"reward": fmean(rewards), "told apart": told / self.settings.goals}

    def _reinforce(self, group: Sequence[Deciding], advantages: Any) -> None:
        """One pass back through each different question of the group."""
        credit: dict[Any, np.ndarray[Any, Any]] = {}
        for one, advantage in zip(group, advantages, strict=True):
            for question, taken in one.choices:
                weights = credit.setdefault(question, np.zeros(len(question.options), np.float32))
                weights[taken] += advantage
        for question, weights in credit.items():
            if np.abs(weights).max() > 1e-6:
                log = self.policy.log_probabilities(question)
                torch.autograd.backward(-(log * torch.from_numpy(weights)).sum())

    # on disk

    def save(self, path: Path) -> None:
        """All that the run needs to continue."""
        state = {
            "settings": self.settings.model_dump(),
            "step": self.step,
            "curve": self.curve,
            "adapter": self.policy.tensors(),
            "optimizer": self.optimizer.state_dict(),
        }
        atomic.write(path, lambda part: torch.save(state, part))

    def restore(self, path: Path) -> None:
        """Resumes from `save`; raises ManyheadsError where the file is damaged or of other settings."""
        try:
            state = torch.load(path, weights_only=True)
            if state["settings"] != self.settings.model_dump():
                raise ManyheadsError(f"{path} is of a run with other settings; delete it to start afresh.")
            self.policy.load(state["adapter"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.curve = int(state["step"]), state["curve"]
        except (OSError, RuntimeError, KeyError, ValueError, EOFError) as error:
            raise ManyheadsError(
                f"{path} can't be resumed: {str(error).splitlines()[0]}. Delete it to start afresh."
            ) from None


class _Unasked:
    """Stands for a policy where a teacher decides: nothing is computed twice."""

    drafts = False

    def __init__(self, policy: Policy) -> None:
        self.name, self.trust, self._policy = policy.name, policy.trust, policy

    def score(self, prompt: str, candidates: Sequence[str]) -> list[float]:
        return [0.0] * len(candidates)

    prior = score

    def generate(self, prompt: str, schema: Any = None, max_tokens: int = 512) -> str:
        return self._policy.generate(prompt, schema, max_tokens)

    def embed(self, texts: Sequence[str]) -> Any:
        return self._policy.embed(texts)
