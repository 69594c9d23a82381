"""Learning to decide: a supervised warm start, then group-relative policy gradients by what is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from manyheads import ManyheadsError, atomic
from manyheads_glam.grounding.attempts import Order, best, sampler, write_right, write_together
from manyheads_glam.grounding.earned import Credit, Parts, rank_of
from manyheads_glam.grounding.policy import Policy
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
    imagined: Annotated[float, Field(ge=0, le=1)] = 0.02
    """share of the reinforced goals on which heads trained in imagination count as much as ranks"""
    head_updates: Annotated[int, Field(ge=1, le=10_000)] = 60
    """by which each of these heads is trained"""
    head_steps: Annotated[int, Field(ge=1, le=1000)] = 40
    """imagined steps by which it is judged"""
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
            self.policy.weights_changed()
            self.step += 1
            if self.step % settings.every == 0 or self.step == settings.total:
                row |= self.held()
            self.curve.append({"step": self.step, **row})
            seen(self.curve[-1])

    def held(self) -> dict[str, float]:
        """Median and mean agreement of the best decisions on held-out environments and on held-out wordings."""
        found: dict[str, float] = {}
        for name, tests in self.tests.items():
            attempts = write_together(self.policy, tests, [lambda: best] * len(tests))
            ranks = [rank_of(practice, goal, one) for (practice, goal), one in zip(tests, attempts, strict=True)]
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
        told = Credit()
        for practice, goal in self._drawn(random):
            known: list[bool] = []
            choices = write_right(self.policy, goal, practice, known).choices
            for choice, is_known in zip(choices, known, strict=True):
                if is_known:
                    told.add(choice, 1.0 / (self.settings.goals * len(known)))
        logs = self.policy.backward(told.weights)
        right = [(log, taken) for question, log in logs.items() for taken in told.taken[question]]
        return {
            "loss": fmean([-float(log[taken]) for log, taken in right] or [0.0]),
            "right": fmean([float(log.argmax() == taken) for log, taken in right] or [0.0]),
        }

    def _reinforced(self, random: np.random.Generator) -> dict[str, float]:
        """Several specifications a goal: those that earn more than the group's mean become likelier."""
        drawn, size = self._drawn(random), self.settings.group
        orders = [partial(_sampler, seed) for seed in random.integers(1 << 62, size=size * len(drawn)).tolist()]
        attempts = write_together(self.policy, [one for one in drawn for _ in range(size)], orders)
        judged = random.random(len(drawn)) < self.settings.imagined
        found, told, credit = Parts(), 0, Credit()
        for i, (practice, goal) in enumerate(drawn):
            group = attempts[i * size : (i + 1) * size]
            rewards = found.add(practice, goal, group, bool(judged[i]))
            if rewards.std() < SPREAD:
                continue
            told += 1
            advantages = (rewards - rewards.mean()) / (rewards.std() + SPREAD)
            for one, advantage in zip(group, advantages / (len(drawn) * size), strict=True):
                for choice in one.choices:
                    credit.add(choice, advantage)
        self.policy.backward(credit.weights)
        return found.row() | {"told apart": told / len(drawn)}

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


def _sampler(seed: int) -> Order:
    return sampler(np.random.default_rng(seed))
