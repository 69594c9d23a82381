"""Practice goals: a specification sampled over a world's signals, said in words, with the rewards that it gives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from manyheads import ManyheadsError, RewardSpec
from manyheads.environment.contract import Instance
from manyheads.rewards.agreement import agreement
from manyheads.rewards.finding import errors
from manyheads.rewards.nodes import Expression, SignalValue, Unary
from manyheads.rewards.sources import SpecSource
from manyheads.rewards.spec import Combine, Sigmoid, Term, Tolerance
from manyheads.rewards.validate import check
from manyheads.storage.world_folder import InstanceRecord, WorldFolder
from manyheads.training import TrialHeads
from manyheads_glam.amounts import MeasuredRange, measure
from manyheads_glam.catalogue import Reading, read
from manyheads_glam.evidence import SIDES, Side
from manyheads_glam.task_files import task_file
from manyheads_glam.wordings import Pick, Split, axis_of, clause

ROWS = 20_000
"""the newest rows of an environment that are used"""
TELLING = 0.02
"""standard deviation from which on a truth tells recorded rows apart"""
SIGMOIDS: tuple[Sigmoid, ...] = ("gaussian", "long_tail", "linear")
JOINTS = (" and ", ", and ", " while ")
TWO = 0.25
"""share of goals with two demands"""


@dataclass(frozen=True)
class Demand:
    """What one term of a practice goal asks of a signal, and the clause that says it."""

    signal: str
    side: Side
    sign: int
    """the direction of a motion: +1, -1, or 0 for either"""
    clause: str


@dataclass(frozen=True)
class PracticeGoal:
    """A sentence whose true rewards are known."""

    sentence: str
    truth: RewardSpec
    rewards: NDArray[np.float32] = field(repr=False)
    demands: tuple[Demand, ...]


class Practice:
    """One environment of a world to practise on: its recorded rows and their ranges."""

    def __init__(
        self,
        instance: Instance,
        columns: Mapping[str, NDArray[np.float64]],
        is_first: NDArray[np.bool_],
        world: TrialHeads | None = None,
    ) -> None:
        """`world`: in whose imagination heads can be trained; None where it has no trained model or no readout."""
        self.instance, self.columns, self.is_first, self.world = instance, columns, is_first, world
        self.measured: Mapping[str, MeasuredRange] = measure(dict(columns))
        self._ranks: dict[str, NDArray[np.float32]] = {}

    def shares(self, truth: RewardSpec, specs: Sequence[RewardSpec]) -> list[float] | None:
        """What heads of these specifications earn by the true one in imagination: see `TrialHeads.shares`."""
        assert self.world is not None
        tasks = [
            task_file(spec, self.instance, self.world.folder).resolve(f"practice.{i}").built()
            for i, spec in enumerate((truth, *specs))
        ]
        return self.world.shares(tasks[0], tasks[1:])

    @cached_property
    def readings(self) -> list[Reading]:
        """The signals that goals can be about: those that were recorded as not always the same."""
        return [
            reading
            for reading in read(self.instance.signals)
            if reading.name in self.measured and np.ptp(self.columns[reading.name]) > 1e-6
        ]

    def rewards(self, spec: RewardSpec) -> NDArray[np.float32]:
        """What a specification pays on the recorded rows (T,)."""
        key = spec.fingerprint
        if key not in self._ranks:
            if len(self._ranks) > 4000:
                self._ranks.clear()
            source = SpecSource(spec, step_seconds=self.instance.step_seconds)
            self._ranks[key] = np.asarray(source.label(self.columns, self.is_first).reward)
        return self._ranks[key]

    def rank(self, spec: RewardSpec, goal: PracticeGoal) -> float:
        """How well a specification ranks recorded stretches as the truth does: Spearman, in [-1, 1]."""
        found = agreement(self.rewards(spec), goal.rewards, self.is_first).segments
        return 0.0 if math.isnan(found) else found

    def goal(self, random: np.random.Generator, split: Split) -> PracticeGoal:
        """A goal of one or two demands; raises ManyheadsError where nothing recorded can be told apart."""
        for _ in range(200 if self.readings else 0):
            count = 2 if random.random() < TWO and len(self.readings) > 1 else 1
            chosen = [self.readings[i] for i in random.choice(len(self.readings), count, replace=False)]
            asked = [ask(reading, random) for reading in chosen]
            terms = [self._term(reading, *one, random) for reading, one in zip(chosen, asked, strict=True)]
            reward = terms[0] if count == 1 else Combine(combine="product", of=[*terms])
            truth = RewardSpec(environment=self.instance.environment.name, reward=reward)
            if errors(check(truth, self.instance.signals)) or self.rewards(truth).std() < TELLING:
                continue
            demands = tuple(
                Demand(reading.name, side, sign, clause(reading, side, sign, _picker(random), split))
                for reading, (side, sign) in zip(chosen, asked, strict=True)
            )
            sentence = JOINTS[random.integers(len(JOINTS))].join(one.clause for one in demands)
            return PracticeGoal(f"{sentence[0].upper()}{sentence[1:]}.", truth, self.rewards(truth), demands)
        raise ManyheadsError(f"What was recorded of {self.instance.key} tells no goals apart; record more of it.")

    def _term(self, reading: Reading, side: Side, sign: int, random: np.random.Generator) -> Term:
        """One demand as a term, with bounds where the world has been; not those that the writer itself would take."""
        measured = self.measured[reading.name]
        quantiles, size = measured.quantiles, max(measured.size, 1e-6)
        x: Expression = SignalValue(signal=reading.name)
        lower: float | None = None
        upper: float | None = None
        width = max(quantiles[0.99] - quantiles[0.01], 1e-6)
        if reading.role == "contact":
            half = 0.5 if reading.signal.kind == "boolean" else 0.05 * size
            lower, upper = (half, None) if side == "high" else (None, half)
        elif side == "high":
            lower = quantiles[(0.65, 0.85, 0.97)[random.integers(3)]]
        elif side == "low":
            upper = quantiles[(0.35, 0.15, 0.03)[random.integers(3)]]
        elif side == "centre":
            lower, upper = -0.05 * width, 0.05 * width
        else:
            width = size
            shares = {"still": (None, 0.05), "slow": (0.05, 0.25), "moving": (0.4, None), "fast": (0.75, None)}[side]
            lower, upper = (None if share is None else share * size for share in shares)
            if side == "still" or sign == 0:
                x = Unary(op="abs", of=x)
            elif sign < 0:
                lower, upper = (None if upper is None else -upper), (None if lower is None else -lower)
        sigmoid = SIGMOIDS[random.integers(len(SIGMOIDS))]
        margin = float(f"{random.uniform(0.3, 1.0) * width:.3g}")
        return Term(x=x, to=Tolerance(shape="tolerance", lower=lower, upper=upper, margin=margin, sigmoid=sigmoid))


def practices(worlds: Sequence[Path], updates: int, steps: int) -> list[Practice]:
    """One for each environment with recorded episodes in the worlds; raises ManyheadsError where there is none.

    `updates` and imagined `steps` are those of heads that learn in the imagination of worlds that are trained.
    """
    found = [practice for world in worlds for practice in _of_world(world, updates, steps)]
    if not found:
        raise ManyheadsError(f"{', '.join(map(str, worlds))} hold no recorded episodes of environments with signals.")
    return found


def _of_world(world: Path, updates: int, steps: int) -> list[Practice]:
    folder = WorldFolder.open(world)
    frozen = TrialHeads(folder, updates, steps)
    replay = folder.replay(read_only=True)
    found = []
    try:
        for key, instance in {one.dynamics_key: one for one in map(InstanceRecord.instance, folder.instances)}.items():
            episodes, rows = [], 0
            for episode in reversed(replay.episodes(key)):
                if len(episode) > 1 and rows < ROWS:
                    episodes.append((episode.signals, len(episode)))
                    rows += len(episode)
            if not episodes or not read(instance.signals):
                continue
            names = sorted(set.intersection(*(set(signals) for signals, _ in episodes)))
            columns = {name: np.concatenate([signals[name] for signals, _ in episodes]) for name in names}
            is_first = np.concatenate([np.arange(length) == 0 for _, length in episodes])
            found.append(Practice(instance, columns, is_first, frozen if frozen.measures(instance) else None))
    finally:
        replay.close()
    return found


def ask(reading: Reading, random: np.random.Generator) -> tuple[Side, int]:
    """A side of a signal at random, and the direction of a motion: +1, -1, or 0 for either."""
    sides = [side for side in SIDES[reading.role] if side != "centre" or reading.signed]
    side = sides[random.integers(len(sides))]
    directed = side in ("fast", "moving", "slow") and axis_of(reading) is not None and reading.signed
    return side, (1, -1)[random.integers(2)] if directed and (side == "moving" or random.random() < 0.5) else 0


def _picker(random: np.random.Generator) -> Pick:
    return lambda choices: choices[int(random.integers(len(choices)))]
