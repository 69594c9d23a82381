"""Pairs of goals that differ in one word: do their specifications differ in the same way?

No environment here is one of the packaged examples'. For each pair two states are made by hand, one that the first
goal means and one that the second means. A pair counts where each specification pays more for its own state.

    python benchmarks/goals.py [--model glam/embedded] [--json]
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from manyheads import LanguageModel, ManyheadsError, RewardSpec
from manyheads.environment.contract import Instance, Signal
from manyheads.registry import registry
from manyheads.rewards.describe import summarize
from manyheads.rewards.sources import SpecSource
from manyheads_glam.retrieval import examples
from manyheads_glam.writer import write


@dataclass(frozen=True)
class Pair:
    """`goal` with a place for either word, and what the two words mean in the environment's signals."""

    environment: str
    goal: str
    words: tuple[str, str]
    means: tuple[Mapping[str, float], Mapping[str, float]]


def _both(name: str, first: float, second: float) -> tuple[Mapping[str, float], Mapping[str, float]]:
    return {name: first}, {name: second}


PAIRS = (
    Pair("dmc/walker", "walk forward {}", ("slowly", "fast"), _both("horizontal_velocity", 0.15, 2.0)),
    Pair("dmc/walker", "lean {}", ("forward", "backward"), _both("torso_angle", 0.8, -0.8)),
    Pair("dmc/cheetah", "run {}", ("forward", "backward"), _both("speed", 2.0, -2.0)),
    Pair("dmc/cheetah", "keep the front foot {}", ("high", "low"), _both("front_foot_height", 0.8, 0.02)),
    Pair(
        "dmc/cheetah",
        "{} the torso",
        ("raise", "lower"),
        ({"torso_height": 0.9, "torso_upright": 1.0}, {"torso_height": 0.2, "torso_upright": 1.0}),
    ),
    Pair("dmc/hopper", "hop ahead {}", ("quickly", "slowly"), _both("speed", 2.0, 0.15)),
    Pair(
        "dmc/hopper",
        "hold the torso {} 0.8 m",
        ("above", "below"),
        ({"torso_height": 1.2, "height": 1.1}, {"torso_height": 0.4, "height": 0.3}),
    ),
    Pair("dmc/reacher", "move the finger to the {}", ("left", "right"), _both("finger_position[0]", -0.15, 0.15)),
    Pair("dmc/reacher", "hold the finger {} the middle", ("above", "below"), _both("finger_position[1]", 0.15, -0.15)),
    Pair(
        "dmc/reacher",
        "turn the wrist {}",
        ("clockwise", "counterclockwise"),
        ({"wrist_angle": -1.5, "wrist_velocity": -2.0}, {"wrist_angle": 1.5, "wrist_velocity": 2.0}),
    ),
    Pair(
        "dmc/pendulum",
        "keep the pole pointing {}",
        ("up", "down"),
        (
            {"pole_angle_cosine": 1.0, "pole_angle": 0.0, "tip_height": 1.1},
            {"pole_angle_cosine": -1.0, "pole_angle": 3.1, "tip_height": 0.1},
        ),
    ),
    Pair(
        "dmc/pendulum",
        "tilt the pole to the {}",
        ("left", "right"),
        ({"pole_angle": -0.8, "tip_position": -0.35}, {"pole_angle": 0.8, "tip_position": 0.35}),
    ),
    Pair("dmc/pendulum", "keep the pole {}", ("moving", "still"), _both("pole_angular_velocity", 3.0, 0.0)),
    Pair("dmc/finger", "spin the spinner {}", ("quickly", "slowly"), _both("hinge_velocity", 8.0, 0.4)),
    Pair(
        "dmc/finger",
        "rotate the spinner at 3 rad/s {}",
        ("clockwise", "counterclockwise"),
        _both("hinge_velocity", -3.0, 3.0),
    ),
    Pair(
        "dmc/acrobot",
        "swing the tip {}",
        ("up", "down"),
        (
            {"tip_height": 3.8, "upper_arm_upright": 1.0, "lower_arm_upright": 1.0, "shoulder_angle": 0.0},
            {"tip_height": 0.2, "upper_arm_upright": -1.0, "lower_arm_upright": -1.0, "shoulder_angle": 3.1},
        ),
    ),
    Pair(
        "gymnasium/MountainCarContinuous-v0",
        "park the car on the {}",
        ("left", "right"),
        _both("car_position", -1.1, 0.4),
    ),
    Pair(
        "gymnasium/Pendulum-v1", "let the pendulum swing {}", ("fast", "slow"), _both("pole_angular_velocity", 6.0, 0.5)
    ),
)


@dataclass(frozen=True)
class Result:
    """What the two goals of a pair became; `pays[i][j]` is what specification i pays for state j."""

    pair: Pair
    says: tuple[str, str]
    pays: tuple[tuple[float, float], tuple[float, float]]
    seconds: float

    @property
    def right(self) -> bool:
        """Whether each specification pays clearly more for its own state."""
        (aa, ab), (ba, bb) = self.pays
        return aa > ab + 0.05 and bb > ba + 0.05


def judge(pair: Pair, model: LanguageModel) -> Result:
    """Writes both specifications and pays both states."""
    instance = registry().environments[pair.environment].instance({})
    start = time.perf_counter()
    try:
        specs = [write(pair.goal.format(word), instance, model).spec for word in pair.words]
    except ManyheadsError as error:
        return Result(pair, (str(error), ""), ((0.0, 0.0), (0.0, 0.0)), time.perf_counter() - start)
    seconds = time.perf_counter() - start
    says = tuple(summarize(spec, instance.signals) for spec in specs)
    pays = tuple(_pays(spec, instance, pair) for spec in specs)
    return Result(pair, (says[0], says[1]), (pays[0], pays[1]), seconds)


def _pays(spec: RewardSpec, instance: Instance, pair: Pair) -> tuple[float, float]:
    """Both states under one specification; signals that a pair doesn't name lie where they change nothing."""
    for name in {*pair.means[0], *pair.means[1]} - {signal.name for signal in instance.signals}:
        raise ManyheadsError(f"{pair.environment} measures no {name}.")
    columns = {
        signal.name: np.array([0.0, *(state.get(signal.name, _neutral(signal)) for state in pair.means)])
        for signal in instance.signals
    }
    _, first, second = (float(x) for x in SpecSource(spec).label(columns).reward)
    return first, second


def _neutral(signal: Signal) -> float:
    return 1.0 if signal.name == "torso_upright" else 0.0


@click.command()
@click.option("--model", default="glam/embedded", show_default=True, help="a registered language model")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
def main(model: str, as_json: bool) -> None:
    """Print each pair's two specifications and whether they differ as the goals do, and the count."""
    known = {example.environment for example in examples()}
    assert not known & {pair.environment for pair in PAIRS}, "a benchmark environment is among the examples"
    language_model = registry().models[model].factory()
    results = [judge(pair, language_model) for pair in PAIRS]
    right = sum(result.right for result in results)
    if as_json:
        rows = [
            {
                "environment": r.pair.environment,
                "goal": r.pair.goal,
                "words": r.pair.words,
                "specifications": r.says,
                "pays": r.pays,
                "right": r.right,
                "seconds": round(r.seconds, 2),
            }
            for r in results
        ]
        click.echo(json.dumps({"model": model, "right": right, "pairs": len(rows), "results": rows}, indent=1))
        return
    table = Table("environment", "goal", "specification", "right", "s")
    for r in results:
        for word, says, mark in zip(r.pair.words, r.says, ("yes" if r.right else "NO", ""), strict=True):
            table.add_row(
                r.pair.environment if mark else "",
                r.pair.goal.format(f"[b]{word}[/b]"),
                says.replace("[", "\\["),
                mark,
                f"{r.seconds:.1f}" if mark else "",
            )
    Console(width=170).print(table)
    click.echo(f"{right} of {len(results)} pairs differ as they should ({model}).")


if __name__ == "__main__":
    main()
