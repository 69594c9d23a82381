"""A third task on a world that was trained on two others of the same body: at once, with few steps, and from scratch.

The world knows dmc/cartpole-park_left and dmc/cartpole-keep_up. Its rows cover the goal `spin`, not `park_right`. Each
goal is reached for in a copy of the world: by a head trained in imagination alone (target: 60% of what a world from
scratch reaches in the end), by a planner, by the head trained further online for a tenth of the steps from scratch
(target: 90%) and for half of them, and by the world trained on for a tenth. 0% are random actions. Where the first
target is missed it is said what limits: coverage, model error, or the head.

    python benchmarks/adaptation.py FOLDER [--steps 8000] [--scratch 20000] [--updates 2000] [--seeds 1] [--json]
"""

from __future__ import annotations

from statistics import fmean
from typing import Any

import click
from cartpole_goals import true_task
from experiment import Experiment, options, over_seeds, show

from manyheads import SharedWorld
from manyheads.learning.aggregate import normalised
from manyheads.report.why import explain
from manyheads.storage.evaluations import RESERVED_SEEDS
from manyheads_glam.experience import look

KNOWN = ("dmc/cartpole-park_left", "dmc/cartpole-keep_up")
GOALS = ("spin", "park_right")
SETTINGS = ("training.train_ratio=128",)
TARGETS = {"imagination": 0.6, "online, a tenth": 0.9}
"""shares of what a world from scratch reaches in the end"""
EXPLAINED = 3
"""episodes that are split into errors"""
PARTS = {
    "model": "model error: imagined states go astray under the real actions",
    "reward": "head: its reward predictor misjudges states that were really seen",
    "policy": "model error: the head does in imagination what the simulator does not",
}


def known(run: Experiment, goal: str, steps: int) -> SharedWorld:
    """The goal's own copy of the world that knows the other two tasks."""
    return run.copied(run.trained("world", KNOWN, steps, *SETTINGS), f"world-{goal}", *SETTINGS)


def finetuned(run: Experiment, goal: str, steps: int, updates: int, rows: int) -> dict[str, Any]:
    """Returns of the head after its updates in imagination and so many rows online."""
    world = known(run, goal, steps)
    world.finetune(true_task(goal), updates, rows)
    return run.returns(world, goal)


def planned(run: Experiment, goal: str, steps: int) -> dict[str, Any]:
    """Returns of a head that plans and needs no training."""
    world = known(run, goal, steps)
    world.finetune(true_task(goal), 0, head="planner")
    return run.returns(world, f"{goal}.planner")


def trained_on(run: Experiment, goal: str, steps: int, rows: int) -> dict[str, Any]:
    """Returns of the head of a world that was trained on for so many rows, on the goal."""
    world = run.copied(run.trained("world", KNOWN, steps, *SETTINGS), f"world-{goal}-on", *SETTINGS)
    return run.returns(world.train(true_task(goal), steps + rows), goal)


def scratch(run: Experiment, goal: str, rows: int) -> dict[str, Any]:
    """Returns of the head of a world that knows nothing else, after so many rows."""
    return run.returns(run.trained(f"scratch-{goal}", [true_task(goal)], rows, *SETTINGS), goal)


def errors(run: Experiment, goal: str, steps: int) -> dict[str, Any]:
    """What the world has recorded of a goal, and what its head's real return differs by from the predicted one."""
    world, task = known(run, goal, steps), true_task(goal)
    replay = world.folder.replay(read_only=True)
    seen = look(replay, task.instance.dynamics_key, task.reward.spec, task.instance.step_seconds)
    replay.close()
    assert seen is not None
    agent = world.head(goal)
    gaps = [explain(agent.world, agent.head, task, RESERVED_SEEDS + episode) for episode in range(EXPLAINED)]
    return {
        "familiar": seen.familiar,
        "rows as asked for": seen.fulfilled,
        "best stretch": seen.coverage.best_stretch,
        "gap": fmean(each.gap for each in gaps),
        "parts": {part: fmean(each.parts[part] for each in gaps) for part in PARTS},
    }


def limit(found: dict[str, Any], missing: float) -> str:
    """What keeps a head from the return that it is `missing` of its target."""
    if missing <= 0:
        return "nothing: the target is reached"
    if not found["familiar"]:
        return "coverage: the recorded rows hardly show what is asked for"
    if abs(found["gap"]) < missing / 2:
        return "head: it predicts as little as it earns"
    return PARTS[max(PARTS, key=lambda part: abs(found["parts"][part]))]


def adapted(run: Experiment, goal: str, steps: int, updates: int, rows: int) -> dict[str, dict[str, Any]]:
    """Returns by way; ways that add rows to the goal's copy of the world come last."""
    tenth, half = rows // 10, rows // 2
    found = {
        "imagination": run.kept(f"{goal}-imagination", finetuned, goal, steps, updates, 0),
        "planner": run.kept(f"{goal}-planner", planned, goal, steps),
    }
    run.kept(f"{goal}-errors", errors, goal, steps)
    for name, online in (("a tenth", tenth), ("half", half)):
        found[f"online, {name}"] = run.kept(f"{goal}-online-{online}", finetuned, goal, steps, updates, online)
    found["world trained on, a tenth"] = run.kept(f"{goal}-on", trained_on, goal, steps, tenth)
    for name, alone in (("a tenth", tenth), ("half", half), ("the end", rows)):
        found[f"scratch, {name}"] = run.kept(f"{goal}-scratch-{alone}", scratch, goal, alone)
    return found


@options(steps=8000, help="rows of the two tasks that the world knows")
@click.option("--scratch", "rows", default=20_000, show_default=True, type=click.IntRange(min=10), help="from scratch")
@click.option("--updates", default=2000, show_default=True, type=click.IntRange(min=1), help="in imagination")
@click.option("--goal", "goals", multiple=True, type=click.Choice(GOALS), default=GOALS, show_default=True)
def main(runs: list[Experiment], steps: int, as_json: bool, rows: int, updates: int, goals: tuple[str, ...]) -> None:
    """Adapt a world in FOLDER to a third task in every way, and compare with worlds from scratch."""
    lines, limits = [], {}
    for goal in goals:
        found = [adapted(run, goal, steps, updates, rows) for run in runs]
        random = over_seeds(each["imagination"]["random"] for each in found).mean
        end = over_seeds(each["scratch, the end"]["head"] for each in found).mean
        for way in found[0]:
            returns = over_seeds(each[way]["head"] for each in found)
            share = normalised([returns.mean], random, end)[0] if end > random else None
            lines.append({"goal": goal, "way": way, "return": returns, "share": share, "target": TARGETS.get(way)})
        needed = random + TARGETS["imagination"] * (end - random)
        for run, each in zip(runs, found, strict=True):
            measured = run.kept(f"{goal}-errors", errors, goal, steps)
            limits[f"{goal}, seed {run.seed}"] = measured | {
                "limit": limit(measured, needed - fmean(each["imagination"]["head"]))
            }
    facts = limits if as_json else {name: _said(each) for name, each in limits.items()}
    show("Return with its 95% interval, and the share of what is reached from scratch", lines, as_json, **facts)


def _said(found: dict[str, Any]) -> str:
    parts = ", ".join(f"{part} {value:+.1f}" for part, value in found["parts"].items())
    seen = f"{found['rows as asked for']:.2%} of the rows as asked for, best stretch {found['best stretch']:.2f}"
    return f"{found['limit']} ({seen}; predicted less real {found['gap']:+.1f}: {parts})"


if __name__ == "__main__":
    main()
