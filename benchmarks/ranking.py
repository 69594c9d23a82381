"""Whether heads' outcomes in imagination rank reward specifications as their real episodes do.

For each of four goals, heads for eight specifications are trained as one batch on a frozen world and ranked as
`manyheads goal --candidates` ranks them: no environment is stepped. Then each head plays real episodes, which are
scored by the goal's true reward. Kendall's tau compares the rankings; the steps of those episodes are what imagination
saves.

    python benchmarks/ranking.py FOLDER [--steps 8000] [--updates 1000] [--goal spin …] [--seeds 1] [--json]
"""

from __future__ import annotations

from typing import Any

import click
from cartpole_goals import GOALS, candidates, true_task
from experiment import Experiment, options, show
from scipy.stats import kendalltau

from manyheads.learning.evaluate import play, success_rate
from manyheads_glam.candidates import ranked
from manyheads_glam.writer import Written

SEEN = ("dmc/cartpole-explore", "dmc/cartpole-park_left", "dmc/cartpole-park_right", "dmc/cartpole-upright")
"""the tasks whose world imagines"""
SETTINGS = ("training.train_ratio=128", "training.starts_per_head=4", f"training.num_envs={len(SEEN)}")


def ranking(run: Experiment, goal: str, steps: int, updates: int) -> list[dict[str, Any]]:
    """Each specification's score in imagination, and what its head earns of the true reward in real episodes."""
    world, tasks, true = run.trained("world", SEEN, steps, *SETTINGS), candidates(goal), true_task(goal)
    plays = world.imagine(tasks, updates)
    written = {task.name: Written(task.reward.spec, (), ()) for task in tasks}
    found = []
    for one in ranked(written, plays, true.instance):
        agent = world.head(one.name)
        episodes = play(true, run.episodes, agent.world, agent.head)
        found.append(
            {
                "specification": one.name,
                "imagined score": one.score,
                "real return": sum(each.return_task for each in episodes) / len(episodes),
                "real success": success_rate(episodes),
                "steps": sum(each.length for each in episodes),
            }
        )
    return found


def summary(goal: str, seed: int, found: list[dict[str, Any]]) -> dict[str, Any]:
    """How far the two rankings of a goal agree, and what choosing by imagination costs of the best real return."""
    imagined, real = ([one[column] for one in found] for column in ("imagined score", "real return"))
    tau = kendalltau(imagined, real)
    return {
        "goal": goal,
        "seed": seed,
        "tau": float(tau.statistic),
        "p": float(tau.pvalue),
        "chosen": found[0]["specification"],
        "its real return": real[0],
        "best real return": max(real),
        "mean real return": sum(real) / len(real),
        "steps saved": sum(one["steps"] for one in found),
    }


@options(steps=8000)
@click.option("--updates", default=1000, show_default=True, type=click.IntRange(min=1), help="of each head")
@click.option("--goal", "goals", multiple=True, type=click.Choice([*GOALS]), default=(*GOALS,), show_default=True)
def main(runs: list[Experiment], steps: int, as_json: bool, updates: int, goals: tuple[str, ...]) -> None:
    """Rank specifications in the imagination of a world in FOLDER and by real episodes; print how far both agree."""
    lines, every = [], {}
    for goal in goals:
        for run in runs:
            found = run.kept(f"ranking-{goal}", ranking, goal, steps, updates)
            every[f"{goal}, seed {run.seed}"] = found
            lines.append(summary(goal, run.seed, found))
    if not as_json:
        for goal, found in every.items():
            show(goal, found, as_json)
    facts = {
        "mean tau": sum(line["tau"] for line in lines) / len(lines),
        "steps saved": sum(line["steps saved"] for line in lines),
        "rows": steps,
    }
    show(
        "Kendall's tau of imagined and real rankings", lines, as_json, **facts, **({"found": every} if as_json else {})
    )


if __name__ == "__main__":
    main()
