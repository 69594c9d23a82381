"""Who writes: language models by name, and the controls that a writer has to beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from benchmarks.nl2reward.goals import Goal

from manyheads import LanguageModel, ManyheadsError, RewardSpec
from manyheads.environment.contract import Instance
from manyheads.rewards.finding import errors
from manyheads.rewards.nodes import SignalValue
from manyheads.rewards.spec import Combine, Term, Tolerance
from manyheads.rewards.validate import check
from manyheads_glam.amounts import MeasuredRange
from manyheads_glam.catalogue import read
from manyheads_glam.evidence import SIDES, Wish
from manyheads_glam.lexicon import Aspect
from manyheads_glam.models.choose import choose
from manyheads_glam.models.lexicon import LexiconModel
from manyheads_glam.models.settings import EMBEDDED, ModelSettings
from manyheads_glam.retrieval import Index
from manyheads_glam.transcript import RecordingModel
from manyheads_glam.understanding import Understanding, Understood
from manyheads_glam.writer import compose, write

Measured = Mapping[str, MeasuredRange]
Writer = Callable[[str, Goal, Measured], RewardSpec]
"""raises ManyheadsError where it refuses"""
CONTROLS = ("truth", "random", "lexicon", "nearest")


def writer(name: str, say: Callable[[str], None], base_url: str | None = None) -> Writer:
    """A control by its name, or else the language model of that name."""
    if name == "truth":
        return lambda sentence, goal, measured: goal.truth(measured)
    if name == "random":
        return _random(np.random.default_rng(0))
    if name == "lexicon":
        return _written_by(LexiconModel())
    if name == "nearest":
        return _nearest(choose(ModelSettings(model=EMBEDDED), say))
    return _written_by(choose(ModelSettings(model=name, base_url=base_url), say))


def _written_by(model: LanguageModel) -> Writer:
    return lambda sentence, goal, measured: write(sentence, goal.instance, model, measured).spec


def _random(random: np.random.Generator) -> Writer:
    """One or two terms over any signals, with bounds where the world has been."""

    def draw(sentence: str, goal: Goal, measured: Measured) -> RewardSpec:
        while True:
            terms = [_random_term(goal.instance, measured, random) for _ in range(random.integers(1, 3))]
            reward = terms[0] if len(terms) == 1 else Combine(combine="product", of=[*terms])
            spec = RewardSpec(environment=goal.instance.environment.name, reward=reward)
            if not errors(check(spec, goal.instance.signals)):
                return spec

    return draw


def _random_term(instance: Instance, measured: Measured, random: np.random.Generator) -> Term:
    readings = [reading for reading in read(instance.signals) if reading.name in measured]
    name = readings[random.integers(len(readings))].name
    quantiles = measured[name].quantiles
    bound = quantiles[(0.03, 0.15, 0.35, 0.5, 0.65, 0.85, 0.97)[random.integers(7)]]
    margin = max(0.5 * (quantiles[0.99] - quantiles[0.01]), 1e-3)
    bounds = {"lower": bound} if random.random() < 0.5 else {"upper": bound}
    return Term(x=SignalValue(signal=name), to=Tolerance(shape="tolerance", margin=margin, **bounds))


def _nearest(model: LanguageModel) -> Writer:
    """What the nearest packaged example decided, about the signals of those roles whose words are nearest."""
    index = Index(RecordingModel(model).embed)

    def take(sentence: str, goal: Goal, measured: Measured) -> RewardSpec:
        example = index.nearest(sentence)[0].example
        readings = read(goal.instance.signals)
        near = np.asarray(model.embed([r.sentence for r in readings])) @ np.asarray(model.embed([sentence]))[0]
        demands = []
        for choice in example.decisions:
            fitting = [i for i, reading in enumerate(readings) if reading.role == choice.role]
            if fitting and choice.side in SIDES[choice.role]:
                best = readings[max(fitting, key=lambda i: near[i])]
                demands.append(Understood(best, Aspect(text=sentence), Wish(choice.side)))
        if not demands:
            raise ManyheadsError(f"Nothing here has the roles of {example.goal!r}.")
        return compose(sentence, goal.instance, Understanding(tuple(demands), (), False, 20), measured)[0]

    return take
